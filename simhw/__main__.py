"""`python -m simhw` is `simhw`."""

from __future__ import annotations

from simhw.cli import main

main()
