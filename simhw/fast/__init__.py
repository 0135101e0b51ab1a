"""Compiled functions, each under its plain definition: arrays and integers in, values out.

Every function compiled by numba has a twin of the same name ending in `_plain`, written another way,
which is its definition. Each compiles at its first call and is kept on disk after that.
"""

from simhw.fast.coefficients import conv_of_coefficients
from simhw.fast.column_schedule import list_units, play_columns
from simhw.fast.conv import conv_accumulate, conv_accumulate_plain
from simhw.fast.dense import conv_float32
from simhw.fast.early_termination import (
    BY_PREDICTION,
    BY_SIGN,
    COMPLETE,
    early_termination,
    early_termination_plain,
)
from simhw.fast.lane_books import book_lanes
from simhw.fast.lane_work import deal_lanes, deal_whole
from simhw.fast.ranges import channel_ranges
from simhw.fast.requantize import NONE, RELU, RELU6, requantize
from simhw.fast.row_stationary import pass_timing
from simhw.fast.run_length import rlc_decode, rlc_encode, rlc_row_words
from simhw.fast.schedule_player import ENDED, TOO_LONG, play_schedule
from simhw.fast.sign_partition import sign_partition
from simhw.fast.sweeps import play_sweeps
from simhw.fast.zeros import nonzero_taps

__all__ = [
    "BY_PREDICTION",
    "BY_SIGN",
    "COMPLETE",
    "ENDED",
    "NONE",
    "RELU",
    "RELU6",
    "TOO_LONG",
    "book_lanes",
    "channel_ranges",
    "conv_accumulate",
    "conv_accumulate_plain",
    "conv_float32",
    "conv_of_coefficients",
    "deal_lanes",
    "deal_whole",
    "early_termination",
    "early_termination_plain",
    "list_units",
    "nonzero_taps",
    "pass_timing",
    "play_columns",
    "play_schedule",
    "play_sweeps",
    "requantize",
    "rlc_decode",
    "rlc_encode",
    "rlc_row_words",
    "sign_partition",
]
