"""Animations of every kind, put together byte by byte: no writer makes all of what the formats allow."""

from __future__ import annotations

import io
import itertools
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 12, 10
#: Left, top, width, height: all of the canvas, a part inside, a part in the last corner.
WHOLE, INSIDE, CORNER = (0, 0, WIDTH, HEIGHT), (2, 3, 6, 4), (7, 5, 5, 5)

#: Palette: transparent where it is used so, then red, green, blue, white, gray.
COLORS = np.array(
    [(9, 99, 199), (230, 20, 20), (20, 220, 30), (30, 30, 230), (255, 255, 255), (80, 80, 80)], np.uint8
)


@dataclass(frozen=True, kw_only=True)
class Case:
    """One animation of four frames, of which the last two stay and are laid over what is there.

    ``first``, ``second``, ``third``: their rectangles. ``disposal`` and ``over`` are the second's. ``kind``:
    of colours. ``clear``: which frames have transparent pixels. ``hidden``: a picture that is no frame stands
    before them.
    """

    format: str
    first: tuple[int, int, int, int]
    second: tuple[int, int, int, int]
    third: tuple[int, int, int, int]
    disposal: int
    first_disposal: int
    over: bool
    kind: str
    clear: tuple[bool, bool, bool, bool]
    hidden: bool = False

    @property
    def name(self) -> str:
        return "-".join(str(value) for value in vars(self).values())

    def numbers(self, frame: int) -> np.ndarray:
        """The palette's entries of a frame, (H, W); 0 is transparent."""
        _, _, width, height = self.rectangles[frame]
        rows, columns = np.mgrid[:height, :width]
        numbers = 1 + (rows // 2 + columns // 3 + frame) % 5
        if self.clear[frame]:
            numbers[(rows + columns + frame) % 4 == 0] = 0
        return numbers.astype(np.uint8)

    @property
    def rectangles(self) -> tuple[tuple[int, int, int, int], ...]:
        return self.first, self.second, self.third, CORNER


CLEAR = [(False,) * 4, (True,) * 4, (False, True, True, False), (True, False, False, True)]


def cases() -> Iterator[Case]:
    """Every pair of what matters, some 800."""
    common = {"clear": CLEAR, "second": [WHOLE, INSIDE], "third": [CORNER, INSIDE]}
    kinds = {
        "gif": {"first": [WHOLE, INSIDE], "kind": ["global", "local"], "disposal": [0, 2, 3],
                "first_disposal": [1, 2, 3], "over": [True]},
        "png": {"first": [WHOLE], "kind": ["palette", "colour", "gray", "alpha"], "disposal": [0, 1, 2],
                "first_disposal": [0, 1, 2], "over": [True, False], "hidden": [False, True]},
        "webp": {"first": [WHOLE, INSIDE], "kind": ["alpha"], "disposal": [0, 1], "first_disposal": [0, 1],
                 "over": [True, False]},
    }  # fmt: skip
    for format, own in kinds.items():
        options = {**common, **own}
        for number, values in enumerate(itertools.product(*options.values())):
            if format != "png" or number % 4 == 0:  # a quarter of its 2,304 has every pair
                yield Case(format=format, **dict(zip(options, values, strict=True)))


def encoded(case: Case) -> bytes:
    """The file."""
    return {"gif": _gif, "png": _png, "webp": _webp}[case.format](case)


def _gif(case: Case) -> bytes:
    table = COLORS.tobytes() + bytes(6)
    whole = case.kind == "global"
    parts = [
        b"GIF89a",
        struct.pack("<HH", WIDTH, HEIGHT),
        bytes([0x82 if whole else 0, 3, 0]),
        table if whole else b"",
    ]
    for frame, (left, top, width, height) in enumerate(case.rectangles):
        disposal = (case.first_disposal, case.disposal, 1, 1)[frame]
        flags = disposal << 2 | case.clear[frame]
        parts.append(b"\x21\xf9\x04" + struct.pack("<BHB", flags, 10, 0) + b"\0")
        parts.append(b"\x2c" + struct.pack("<HHHHB", left, top, width, height, 0 if whole else 0x82))
        parts += [b"" if whole else table, b"\x03", _lzw(case.numbers(frame).tobytes())]
    return b"".join([*parts, b";"])


def _lzw(numbers: bytes) -> bytes:
    """LZW that compresses nothing: four bits for each, and a clear code before codes grow longer."""
    bits = "".join(f"{code:04b}"[::-1] for number in numbers for code in (8, number)) + f"{9:04b}"[::-1]
    packed = bytes(int(bits[at : at + 8].ljust(8, "0")[::-1], 2) for at in range(0, len(bits), 8))
    blocks = [packed[at : at + 255] for at in range(0, len(packed), 255)]
    return b"".join(bytes([len(block)]) + block for block in blocks) + b"\0"


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def _png(case: Case) -> bytes:
    kind = {"gray": 0, "colour": 2, "palette": 3, "alpha": 6}[case.kind]
    parts = [b"\x89PNG\r\n\x1a\n", _chunk(b"IHDR", struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, kind, 0, 0, 0))]
    parts.append(_chunk(b"acTL", struct.pack(">II", 4, 0)))
    if kind == 3:
        parts += [_chunk(b"PLTE", COLORS.tobytes()), _chunk(b"tRNS", b"\0" if any(case.clear) else b"\xff")]
    elif kind in (0, 2) and any(case.clear):
        transparent = (40,) if kind == 0 else tuple(int(value) for value in COLORS[0])
        parts.append(_chunk(b"tRNS", struct.pack(f">{len(transparent)}H", *transparent)))
    if case.hidden:
        parts.append(_chunk(b"IDAT", _rows(np.full((HEIGHT, WIDTH), 4, np.uint8), case)))
    sequence = itertools.count()
    for frame, (left, top, width, height) in enumerate(case.rectangles):
        disposal = (case.first_disposal, case.disposal, 0, 0)[frame]
        over = case.over if frame == 1 else frame > 0
        control = struct.pack(">IIIIIHHBB", next(sequence), width, height, left, top, 1, 10, disposal, over)
        parts.append(_chunk(b"fcTL", control))
        content = _rows(case.numbers(frame), case)
        if frame == 0 and not case.hidden:
            parts.append(_chunk(b"IDAT", content))
        else:
            parts.append(_chunk(b"fdAT", struct.pack(">I", next(sequence)) + content))
    return b"".join([*parts, _chunk(b"IEND", b"")])


def _rows(numbers: np.ndarray, case: Case) -> bytes:
    if case.kind == "palette":
        samples = numbers[..., np.newaxis]
    elif case.kind == "gray":
        samples = (40 * (numbers + 1)).astype(np.uint8)[..., np.newaxis]
    else:
        samples = COLORS[numbers]
    if case.kind == "alpha":
        samples = np.dstack([samples, _alpha(numbers)])
    rows = np.zeros((samples.shape[0], 1 + samples.shape[1] * samples.shape[2]), np.uint8)
    rows[:, 1:] = samples.reshape(samples.shape[0], -1)
    return zlib.compress(rows.tobytes())


def _alpha(numbers: np.ndarray) -> np.ndarray:
    """Nothing, half, or all."""
    return np.select([numbers == 0, numbers == 3], [0, 128], 255).astype(np.uint8)


def _webp(case: Case) -> bytes:
    parts = [
        struct.pack("<4sIB3x", b"VP8X", 10, 0x12)
        + struct.pack("<I", WIDTH - 1)[:3]
        + struct.pack("<I", HEIGHT - 1)[:3]
    ]
    parts.append(struct.pack("<4sIIH", b"ANIM", 6, 0xFFFFFFFF, 0))
    for frame, (left, top, width, height) in enumerate(case.rectangles):
        left, top = left // 2 * 2, top // 2 * 2  # places are counted in twos
        numbers = case.numbers(frame)
        picture = Image.fromarray(np.dstack([COLORS[numbers], _alpha(numbers)]))
        file = io.BytesIO()
        picture.save(file, "WEBP", lossless=True, exact=True)
        pixels = file.getvalue()
        pixels = pixels[pixels.index(b"VP8L") :]
        disposal = (case.first_disposal, case.disposal, 0, 0)[frame]
        over = case.over if frame == 1 else frame > 0
        head = b"".join(
            struct.pack("<I", value)[:3] for value in (left // 2, top // 2, width - 1, height - 1, 100)
        )
        content = head + bytes([disposal | (0 if over else 2)]) + pixels
        parts.append(struct.pack("<4sI", b"ANMF", len(content)) + content)
    body = b"WEBP" + b"".join(parts)
    return b"RIFF" + struct.pack("<I", len(body)) + body
