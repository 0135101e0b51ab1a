"""Every network that Tolba et al. print above 96 %: the shipped coefficients name as many images rightly.

All 10,000 test images, exact sums, activations of 16 bits; some 40 seconds of one core.
"""

from __future__ import annotations

import os

import pytest

from simhw.papers.tolba import COUNTED, printed
from simhw.training.evaluate import accuracy_of

DATA = os.environ.get("SIMHW_DATA")

COLUMNS = [column for table in (printed.TABLE_2, printed.TABLE_3) for column in table.values()]
PRINTED = {column.recipe: float(column.accuracy) for column in COLUMNS}
PRINTED |= {recipe: float(text) for recipe, text in printed.TEXT_ACCURACIES.values()}
PRINTED[COUNTED] = float(printed.TABLE_2["case7"].accuracy)


def test_thirteen_networks_are_printed_above_96() -> None:
    """Seven columns of Table II, case 7 once more as counted, N_w 3 and 4, three columns of Table III."""
    assert len([text for text in PRINTED.values() if text > 96]) == 7 + 1 + 2 + 3


@pytest.mark.skipif(
    DATA is None or not os.path.exists(os.path.join(DATA, "mnist.npz")),
    reason="SIMHW_DATA names no folder with MNIST",
)
@pytest.mark.parametrize("recipe", sorted(recipe for recipe, text in PRINTED.items() if text > 96))
def test_what_is_printed_above_96_comes_out_within_a_point(recipe: str) -> None:
    found = accuracy_of(recipe)
    assert found is not None
    assert abs(100 * found - PRINTED[recipe]) < 1
