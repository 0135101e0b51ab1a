"""The run-length code of Eyeriss (Chen et al., JSSC 2017): three pairs in each 64-bit word.

A pair is a run of 0 to 31 zeros (5 bits) and the 16-bit value that follows them, its level: it always
stands for run + 1 values. Zeros that go on past a run of 31 make the pair (31, 0), which stands for 32
zeros. A stream that ends in z zeros, fewer than 32 of them, ends with the pair (z - 1, 0).
Pair i of a word lies at bit 21 * i, its run below its level; bit 63 is set in the last word of a stream.
Places left over in the last word are zero, and whoever decodes knows how many values to expect. An empty
stream has no word.
"""

from __future__ import annotations

import itertools

import numpy as np
from numba import njit

PAIRS_PER_WORD, RUN_BITS, PAIR_BITS = 3, 5, 21
LONGEST_RUN = (1 << RUN_BITS) - 1


def rlc_pairs_plain(values):
    """Return the (run, level) pairs of a stream."""
    pairs = []
    for is_zero, group in itertools.groupby(values, key=lambda value: value == 0):
        if is_zero:
            zeros = len(list(group))
            pairs += [(LONGEST_RUN, 0)] * (zeros // (LONGEST_RUN + 1))
            if zeros % (LONGEST_RUN + 1):
                pairs.append((zeros % (LONGEST_RUN + 1) - 1, 0))
        else:
            for value in group:
                waits = pairs and pairs[-1][1] == 0 and pairs[-1][0] < LONGEST_RUN
                pairs.append((pairs.pop()[0] + 1 if waits else 0, int(value)))
    return pairs


def rlc_encode_plain(values):
    """Return the stream of int16 `values` as uint64 words."""
    pairs = rlc_pairs_plain(values)
    words = [0] * -(-len(pairs) // PAIRS_PER_WORD)
    for i, (run, level) in enumerate(pairs):
        words[i // PAIRS_PER_WORD] |= (run + level % 65536 * 32) << PAIR_BITS * (i % PAIRS_PER_WORD)
    if words:
        words[-1] |= 1 << 63
    return np.array(words, dtype=np.uint64)


@njit(cache=True, nogil=True)
def rlc_encode(values):
    words = np.zeros((values.size + 2) // 3, dtype=np.uint64)
    word, shift, run = 0, 0, 0
    for i in range(values.size):
        if values[i] == 0 and run < LONGEST_RUN and i < values.size - 1:
            run += 1
            continue
        if shift == PAIRS_PER_WORD * PAIR_BITS:
            word, shift = word + 1, 0
        pair = np.uint64(run) | (np.uint64(values[i]) & np.uint64(0xFFFF)) << np.uint64(RUN_BITS)
        words[word] |= pair << np.uint64(shift)
        shift += PAIR_BITS
        run = 0
    if shift:
        words[word] |= np.uint64(1) << np.uint64(63)
    return words[: word + (shift > 0)].copy()


def rlc_decode_plain(words, count):
    """Return the first `count` values of a stream, int16."""
    bits = "".join(f"{int(word):064b}"[:0:-1] for word in words)  # lowest bit first, without bit 63
    values = []
    for start in range(0, len(bits), PAIR_BITS):
        run, level = bits[start : start + RUN_BITS], bits[start + RUN_BITS : start + PAIR_BITS]
        values += [0] * int(run[::-1], 2) + [int(level[::-1], 2)]
    return np.array(values[:count], dtype=np.uint16).view(np.int16)


@njit(cache=True, nogil=True)
def rlc_decode(words, count):
    values = np.zeros(count, dtype=np.int16)
    at = 0
    for i in range(words.size):
        for shift in range(0, PAIRS_PER_WORD * PAIR_BITS, PAIR_BITS):
            pair = words[i] >> np.uint64(shift)
            at += np.int64(pair & np.uint64(LONGEST_RUN))
            if at >= count:
                break
            level = np.int64((pair >> np.uint64(RUN_BITS)) & np.uint64(0xFFFF))
            values[at] = level - ((level & 0x8000) << 1)
            at += 1
    return values


def rlc_row_words_plain(planes):
    """Which words hold each row, where each of `planes` [P, H, W] is one stream.

    Returns (first, last, words): int64 [P, H] with the first and last word that must be read to have all
    values of a row (a row inside a run touches the word that holds the run), and int64 [P], the words of
    each stream. No dimension is zero.
    """
    count, height, width = planes.shape
    word_of = np.empty((count, height * width), dtype=np.int64)
    for plane, word in zip(planes, word_of, strict=True):
        runs = [run for run, _ in rlc_pairs_plain(plane.ravel().tolist())]
        word[:] = np.repeat(np.arange(len(runs)) // PAIRS_PER_WORD, np.array(runs) + 1)
    rows = word_of.reshape(count, height, width)
    return rows[:, :, 0].copy(), rows[:, :, -1].copy(), word_of[:, -1] + 1


@njit(cache=True, nogil=True)
def rlc_row_words(planes):
    count, height, width = planes.shape
    first = np.empty((count, height), dtype=np.int64)
    last = np.empty((count, height), dtype=np.int64)
    words = np.empty(count, dtype=np.int64)
    for p in range(count):
        pairs, run = 0, 0  # pairs that have ended, zeros of the one that is open
        for y in range(height):
            first[p, y] = pairs // PAIRS_PER_WORD
            for x in range(width):
                is_zero = planes[p, y, x] == 0
                pairs += (not is_zero) | (run == LONGEST_RUN)
                run = (run + 1) & LONGEST_RUN if is_zero else 0
            last[p, y] = (pairs - (run == 0)) // PAIRS_PER_WORD
        words[p] = (pairs + (run > 0) + 2) // PAIRS_PER_WORD
    return first, last, words
