"""Fixed point: how real numbers become integers, and how wide sums come back to a narrow format.

Every rounding here is to nearest, ties to even, and every overflow saturates.
"""

from __future__ import annotations

import math

import numpy as np

from simhw.shapes import NumberFormat

_BLOCK = 1 << 16  # elements treated at once: the temporaries of a block stay in the cache


def storage_dtype(fmt: NumberFormat) -> np.dtype:
    """Return the dtype in which tensors of this format are stored."""
    if fmt.is_float:
        return np.dtype(np.float32)
    if not 2 <= fmt.bits <= 32:
        raise ValueError(f"bits: wants 2 to 32 for a stored tensor, got {fmt.bits}")
    return np.dtype(np.int8 if fmt.bits <= 8 else np.int16 if fmt.bits <= 16 else np.int32)


def magnitude(array: np.ndarray) -> int | float:
    """Return max|x|, exact also where -x does not fit x's dtype; 0 for an empty array."""
    if array.size == 0:
        return 0
    low, high = array.min().item(), array.max().item()
    return max(-low, high)


def format_for(largest: float, bits: int) -> NumberFormat:
    """Return the format of the largest fraction that holds every |x| <= `largest`.

    A tensor of zeros fits any fraction and gets bits - 1, the format of numbers below one.
    """
    if not math.isfinite(largest) or largest < 0:
        raise ValueError(f"wants a finite magnitude, got {largest}")
    if largest == 0:
        return NumberFormat(bits=bits, fraction=bits - 1)
    mantissa, exponent = math.frexp(largest)  # largest = mantissa * 2**exponent, 0.5 <= mantissa < 1
    fraction = bits - 1 - exponent  # the integer part fits, before rounding
    if round(math.ldexp(mantissa, bits - 1)) > (1 << (bits - 1)) - 1:
        fraction -= 1  # rounding carries it to 2**(bits-1), one too many
    return NumberFormat(bits=bits, fraction=fraction)


def choose_format(array: np.ndarray, bits: int) -> NumberFormat:
    """Return the format of the largest fraction in which no element of `array` saturates.

    Raises ValueError where the array holds NaN or an infinity.
    """
    return format_for(float(magnitude(array)), bits)


def quantize(array: np.ndarray, fmt: NumberFormat) -> np.ndarray:
    """Return `array` in integers of `fmt`: int8, int16 or int32, rounded half to even, saturated."""
    out = np.empty(array.shape, dtype=storage_dtype(fmt))
    source, target = np.ravel(array), out.reshape(-1)
    for start in range(0, source.size, _BLOCK):
        block = np.ldexp(source[start : start + _BLOCK].astype(np.float64), fmt.fraction)
        if np.isnan(block).any():
            raise ValueError("NaN has no integer")
        np.rint(block, out=block)
        target[start : start + _BLOCK] = np.clip(block, fmt.lowest, fmt.highest)
    return out


def quantize_bias(bias: np.ndarray, fraction: int) -> np.ndarray:
    """Return a bias in accumulator format: int64 of this fraction, rounded half to even.

    Raises ValueError where the accumulator cannot hold it.
    """
    scaled = np.rint(np.ldexp(np.asarray(bias, dtype=np.float64), fraction))
    if not np.all(np.abs(scaled) < 2.0**62):
        raise ValueError(f"a bias of magnitude {magnitude(bias)} does not fit 63 bits at fraction {fraction}")
    return scaled.astype(np.int64)


def dequantize(
    integers: np.ndarray, fmt: NumberFormat, dtype: type[np.float32] | type[np.float64] = np.float32
) -> np.ndarray:
    """Return the real numbers that `integers` stand for; exact up to 24 bits, in float64 for every format."""
    return np.ldexp(integers.astype(dtype), -fmt.fraction)


def activation_range(fmt: NumberFormat, activation: str | None) -> tuple[int, int]:
    """Return the lowest and highest integer that leaves a layer with this activation."""
    if activation is None:
        return fmt.lowest, fmt.highest
    if activation == "relu":
        return 0, fmt.highest
    if activation == "relu6":
        six = round(math.ldexp(6, fmt.fraction)) if fmt.fraction < fmt.bits else fmt.highest
        return 0, min(six, fmt.highest)
    raise ValueError(f"unknown activation {activation!r}")


def requantize(sums: np.ndarray, shift: int, fmt: NumberFormat, activation: str | None = None) -> np.ndarray:
    """Return round_half_even(sums / 2**shift), saturated to `fmt`, then activated.

    `sums` is int64 (or Python integers in an object array); a negative shift multiplies.
    Exact for every int64, by integer arithmetic alone.
    """
    out = np.empty(sums.shape, dtype=storage_dtype(fmt))
    low, high = activation_range(fmt, activation)
    source, target = np.ravel(sums), out.reshape(-1)
    for start in range(0, source.size, _BLOCK):
        block = source[start : start + _BLOCK]
        block = _divided(block, shift) if shift > 0 else _multiplied(block, -shift, fmt)
        target[start : start + _BLOCK] = np.minimum(np.maximum(block, low), high)
    return out


def _divided(sums: np.ndarray, shift: int) -> np.ndarray:
    if shift > 63 and sums.dtype != object:
        return np.zeros_like(sums)  # |sum| <= 2**63 is at most half of 2**64, and a half goes to even
    floor = sums >> shift
    rest = sums & ((1 << shift) - 1)
    odd = floor & 1
    return floor + (rest > (1 << (shift - 1)) - odd)  # up beyond a half, and at a half if floor is odd


def _multiplied(sums: np.ndarray, shift: int, fmt: NumberFormat) -> np.ndarray:
    """Return sums << shift, where any value beyond the format is replaced before it can overflow."""
    shift = min(shift, fmt.bits)  # shifted by the whole width, every number but zero is beyond the format
    highest, lowest = fmt.highest >> shift, -(-fmt.lowest >> shift)
    inside = np.minimum(np.maximum(sums, lowest), highest) << shift
    return np.where(sums > highest, fmt.highest, np.where(sums < lowest, fmt.lowest, inside))


def divide(sums: np.ndarray, counts: np.ndarray | int, fmt: NumberFormat) -> np.ndarray:
    """Return round_half_even(sums / counts), saturated to `fmt`, for int64 sums and positive counts."""
    floor, rest = np.divmod(sums, counts)
    floor += 2 * rest > counts - (floor & 1)
    return np.clip(floor, fmt.lowest, fmt.highest).astype(storage_dtype(fmt))
