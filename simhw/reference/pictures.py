"""Single pictures: PNG, PPM, PGM and .npy files as arrays [H, W, C] of 0 to 255.

PNG is read here because the reference model needs NumPy alone: 8-bit grey, RGB and palette pictures, with
or without an alpha channel (which is dropped), not interlaced.
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np

from simhw.errors import DataError

READ = (".png", ".ppm", ".pgm", ".npy")
KNOWN_UNREAD = (".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp")
_LARGEST_SIDE = 1 << 14  # pixels; a picture beyond it is not network input, and may be a decompression bomb


def read(path: Path) -> np.ndarray:
    """Return one picture, uint8 [H, W, C], or the numbers of an .npy file as they are."""
    suffix = path.suffix.lower()
    if suffix not in READ:
        raise DataError(f"{path}: simhw reads {', '.join(READ)} pictures; convert it to one of these")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); wants a file that can be") from None
    try:
        if suffix == ".npy":
            picture = np.load(path, allow_pickle=False)
            if picture.dtype.kind not in "uif":
                raise ValueError(f"holds {picture.dtype}, not numbers")
        else:
            picture = _png(data) if suffix == ".png" else _netpbm(data)
    except (ValueError, IndexError, OSError, EOFError, zlib.error, struct.error) as error:
        raise DataError(f"{path}: is not a whole {suffix} picture ({error}); save it again") from None
    return picture[:, :, None] if picture.ndim == 2 else picture


def _checked_size(width: int, height: int) -> tuple[int, int]:
    if not (1 <= width <= _LARGEST_SIDE and 1 <= height <= _LARGEST_SIDE):
        raise ValueError(f"{width} x {height} pixels")
    return width, height


def _png(data: bytes) -> np.ndarray:
    """Read a PNG (W3C Recommendation, Portable Network Graphics, second edition)."""
    if data[:8] != b"\x89PNG\r\n\x1a\n":
        raise ValueError("no PNG signature")
    chunks: dict[bytes, bytes] = {}
    at = 8
    while at + 12 <= len(data) and b"IEND" not in chunks:
        (length,) = struct.unpack(">I", data[at : at + 4])
        kind, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        if struct.pack(">I", zlib.crc32(kind + body)) != data[at + 8 + length : at + 12 + length]:
            raise ValueError("a checksum differs")
        chunks[kind] = chunks.get(kind, b"") + body
        at += 12 + length
    if not {b"IHDR", b"IDAT", b"IEND"} <= chunks.keys():
        raise ValueError("cut short")
    width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", chunks[b"IHDR"])
    width, height = _checked_size(width, height)
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}.get(colour)
    if channels is None or depth != 8 or interlaced:
        raise ValueError("wants 8 bits a channel, not interlaced")
    size = height * (1 + width * channels)
    raw = zlib.decompressobj().decompress(chunks[b"IDAT"], size)
    if len(raw) != size:
        raise ValueError("cut short")
    picture = _unfiltered(raw, height, width, channels)
    if colour == 3:
        return np.frombuffer(chunks[b"PLTE"], np.uint8).reshape(-1, 3)[picture[:, :, 0]]
    return picture[:, :, :3] if channels >= 3 else picture[:, :, :1]


def _unfiltered(raw: bytes, height: int, width: int, channels: int) -> np.ndarray:
    """Undo the filter of each row: none, left, above, their average, or Paeth's choice."""
    rows = np.frombuffer(raw, np.uint8).reshape(height, 1 + width * channels)
    out = np.zeros((height + 1, width * channels), np.uint8)  # a row of zeros lies above the first
    for y, row in enumerate(rows, start=1):
        kind, line, above = row[0], row[1:], out[y - 1]
        if kind == 0:
            out[y] = line
        elif kind == 1:
            out[y] = np.cumsum(line.reshape(width, channels), axis=0, dtype=np.uint8).ravel()
        elif kind == 2:
            out[y] = line + above
        elif kind in (3, 4):
            out[y] = _sequential_row(kind, line.tolist(), above.tolist(), channels)
        else:
            raise ValueError(f"unknown filter {kind}")
    return out[1:].reshape(height, width, channels)


def _sequential_row(kind: int, line: list[int], above: list[int], channels: int) -> list[int]:
    done = [0] * channels + line  # zeros lie left of the first pixel
    corner = [0] * channels + above
    for i in range(channels, len(done)):
        left, up = done[i - channels], corner[i]
        if kind == 3:
            guess = (left + up) // 2
        else:
            diagonal = corner[i - channels]
            off_left, off_up = abs(up - diagonal), abs(left - diagonal)
            off_diagonal = abs(left + up - 2 * diagonal)
            nearest = min(off_left, off_up, off_diagonal)
            guess = left if off_left == nearest else up if off_up == nearest else diagonal
        done[i] = (done[i] + guess) & 255
    return done[channels:]


def _netpbm(data: bytes) -> np.ndarray:
    """Read P2, P3 (text) or P5, P6 (bytes) of at most 255 levels."""
    fields: list[bytes] = []
    at = 0
    while len(fields) < 4:  # kind, width, height, levels; then one blank
        line_end = at
        while line_end < len(data) and data[line_end : line_end + 1].isspace():
            line_end += 1
        at = line_end
        if data[at : at + 1] == b"#":
            at = data.index(b"\n", at)
            continue
        while line_end < len(data) and not data[line_end : line_end + 1].isspace():
            line_end += 1
        if line_end == at:
            raise ValueError("cut short")
        fields.append(data[at:line_end])
        at = line_end
    kind, (width, height, levels) = fields[0], map(int, fields[1:])
    width, height = _checked_size(width, height)
    channels = {b"P2": 1, b"P5": 1, b"P3": 3, b"P6": 3}.get(kind)
    if channels is None or not 1 <= levels <= 255:
        raise ValueError("wants P2, P3, P5 or P6 of at most 255 levels")
    size = width * height * channels
    body = data[at + 1 :]
    values = (
        np.frombuffer(body[:size], np.uint8) if kind in (b"P5", b"P6") else np.array(body.split(), np.int64)
    )
    if values.size != size or values.max() > levels:
        raise ValueError("cut short, or a value beyond its levels")
    return np.rint(values * (255 / levels)).astype(np.uint8).reshape(height, width, channels)
