"""The chip's printed numbers, recomputed: what must be exact is, what has a pass mark meets it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from simhw.accelerator import simulate
from simhw.papers import reproduce
from simhw.papers.eyeriss import LAYERS, TABLE_5, _trace, core_units, fit_scale, printed_millijoules
from simhw.technology import load_technology

DATA = os.environ.get("SIMHW_DATA")
needs_data = pytest.mark.skipif(
    DATA is None or not (Path(DATA) / "alexnet_conv_weights.npz").exists(),
    reason="SIMHW_DATA names no folder with AlexNet's weights and photographs",
)


@pytest.fixture(scope="module")
def found() -> dict:
    (paper,) = reproduce("eyeriss", None if DATA is None else Path(DATA))
    return {item["id"]: item for item in paper["items"]}


@pytest.mark.parametrize("name", LAYERS)
def test_active_pes_macs_and_buffer_traffic_are_the_printed_ones(found: dict, name: str) -> None:
    for key in ("active_pes", "gmacs", "buffer_mb"):
        assert found[f"table5.{name}.{key}"]["verdict"] == "exact"


def test_latency_meets_its_marks_with_nothing_fitted(found: dict) -> None:
    """Six per cent for each layer, three for the five together."""
    for name in LAYERS:
        one = found[f"table5.{name}.processing_ms"]
        assert abs(one["simulated"] / one["printed"] - 1) <= 0.06
        assert one["printed"] == TABLE_5[name].processing_ms
    together = found["table5.total.processing_ms"]
    assert abs(together["simulated"] / together["printed"] - 1) <= 0.03


@needs_data
@pytest.mark.parametrize("name", LAYERS)
def test_dram_traffic_is_within_its_mark(found: dict, name: str) -> None:
    one = found[f"table5.{name}.dram_mb"]
    assert abs(one["simulated"] / one["printed"] - 1) <= 0.15


@needs_data
def test_the_scale_in_the_technology_table_is_the_fitted_one() -> None:
    trace, real = _trace(Path(str(DATA)), None)
    assert real
    units = core_units(simulate("eyeriss", trace, mapping="eyeriss-alexnet", values=False))
    fitted = fit_scale(units, printed_millijoules())
    assert load_technology("eyeriss_65nm").scale_pj_per_unit == pytest.approx(fitted, rel=0.01)


def test_without_data_what_needs_them_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("SIMHW_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    (paper,) = reproduce("eyeriss")
    verdicts = {item["id"]: item["verdict"] for item in paper["items"]}
    assert verdicts["table5.conv1.dram_mb"] == "data not at hand"
    assert verdicts["table5.conv2.power_mw"] == "data not at hand"
    assert verdicts["table5.conv3.active_pes"] == "exact"
    assert verdicts["table5.conv3.processing_ms"] == "within"


def test_table_3_contradicts_table_5_for_conv3(found: dict) -> None:
    one = found["table3.conv3.buffer_mb"]
    assert one["verdict"] == "printed value inconsistent"
    assert one["simulated"] == pytest.approx(69.2, abs=0.05)
