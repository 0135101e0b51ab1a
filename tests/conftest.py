"""What every test may ask for."""

from __future__ import annotations

import pytest
from hypothesis import settings

# the same examples in every run, and no clock: other work on the machine is no fault of the code's
settings.register_profile("simhw", deadline=None, derandomize=True)
settings.load_profile("simhw")


@pytest.fixture
def no_kinds(monkeypatch):
    """Empty registries for the length of a test, so that it may define kinds of its own."""
    monkeypatch.setattr("simhw.core.component._KINDS", {})
    monkeypatch.setattr("simhw.core.dataflow._DATAFLOWS", {})
    monkeypatch.setattr("simhw.core.dataflow._TWINS", {})
    monkeypatch.setattr("simhw.core.transform._TRANSFORMS", {})
