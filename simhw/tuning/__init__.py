"""Speculation parameters under an accuracy limit: SnaPEA's Algorithm 1, and what its answer does."""

from simhw.tuning.measure import Exact, Measured, MeasuredLayer, evaluate, run_exact, wilson
from simhw.tuning.network import Images, Network, network_of
from simhw.tuning.recipe import RECIPES, Recipe, load_recipe
from simhw.tuning.tune import Tuned, measure_again, tune

__all__ = [
    "RECIPES",
    "Exact",
    "Images",
    "Measured",
    "MeasuredLayer",
    "Network",
    "Recipe",
    "Tuned",
    "evaluate",
    "load_recipe",
    "measure_again",
    "network_of",
    "run_exact",
    "tune",
    "wilson",
]
