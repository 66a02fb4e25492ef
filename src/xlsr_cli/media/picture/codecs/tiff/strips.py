"""Decompress samples of TIFFs with Pillow's libtiff, by presenting them as plain bytes.

Pillow's libtiff knows the compressions, but only few layouts of samples. So it gets a directory that
describes each row of a plane as a row of 8-bit grays, and decompresses the bytes unchanged. Predictor, byte
order and bits are applied here. imagecodecs could replace this module, but its wheel is some 20 MB for a few
rare layouts.
"""

from __future__ import annotations

import struct
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from xlsr_cli.formats import format_named
from xlsr_cli.media.picture.codecs import pillow
from xlsr_cli.media.picture.exif import LONG, Directory, Field, packed

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Compressions that work on bytes: none, LZW, both deflates, PackBits, LZMA, Zstandard.
_BYTEWISE = {1, 5, 8, 32946, 32773, 34925, 50000}

#: Predictor.
_DIFFERENCES, _FLOAT_DIFFERENCES = 2, 3


def samples_by_libtiff(data: bytes, page: Any) -> NDArray[Any] | None:
    """The samples of ``page`` (a tifffile page of ``data``), (H, W, S), as stored in the file.

    None for compressions that do not work on bytes, and for numbers that numpy does not have. Raises what
    Pillow raises on damage.
    """
    import numpy as np

    if int(page.compression) not in _BYTEWISE or (not 1 <= page.bitspersample <= 16 and page.dtype is None):
        return None
    if page.planarconfig == 2 and page.samplesperpixel > 1:
        count = len(page.dataoffsets) // page.samplesperpixel
        planes = [
            _plane(data, page, slice(first * count, (first + 1) * count), 1)
            for first in range(page.samplesperpixel)
        ]
        return np.concatenate(planes, axis=2)
    return _plane(data, page, slice(None), int(page.samplesperpixel))


#: YCbCrCoefficients and ReferenceBlackWhite, and what they are where they are missing (TIFF 6.0, section 20).
_COEFFICIENTS, _REFERENCES = 529, 532
_BT601, _FULL_RANGE = (0.299, 0.587, 0.114), (0.0, 255.0, 128.0, 255.0, 128.0, 255.0)


def colors_of_subsampled(data: bytes, page: Any, sharing: tuple[int, int]) -> NDArray[Any] | None:
    """Y′CbCr of 8 bits of which ``sharing`` (across, down) pixels have one chroma sample, as (H, W, 3) RGB.

    None for compressions that do not work on bytes, and for planes and tiles. Chroma is repeated, and the
    range is full unless the directory says otherwise, as in libtiff's TIFFReadRGBAImage. Raises what Pillow
    raises on damage.
    """
    across, down = sharing
    if int(page.compression) not in _BYTEWISE or page.is_tiled or page.planarconfig != 1:
        return None
    if page.bitspersample != 8 or page.samplesperpixel != 3 or page.predictor not in (None, 1):
        return None
    height, width = int(page.imagelength), int(page.imagewidth)
    # A unit is the luma of the pixels that share chroma, and their chroma; units stand in rows.
    units, unit = -(-width // across), across * down + 2
    as_rows = SimpleNamespace(
        compression=page.compression,
        fillorder=page.fillorder,
        is_tiled=False,
        imagelength=-(-height // down),
        rowsperstrip=-(-min(int(page.rowsperstrip), height) // down),
        dataoffsets=page.dataoffsets,
        databytecounts=page.databytecounts,
    )
    found: NDArray[Any] = _decompressed(data, as_rows, slice(None), units * unit, 0).reshape(-1, units, unit)
    luma: NDArray[Any] = (
        found[..., :-2].reshape(-1, units, down, across).swapaxes(1, 2).reshape(-1, units * across)
    )
    chroma = found[..., -2:].repeat(down, axis=0).repeat(across, axis=1)
    return _rgb_of(luma[:height, :width], chroma[:height, :width], page)


def _rgb_of(luma: NDArray[Any], chroma: NDArray[Any], page: Any) -> NDArray[Any]:
    """(H, W) Y′ and (H, W, 2) Cb and Cr as (H, W, 3) RGB, all uint8 (TIFF 6.0, section 21)."""
    import numpy as np

    black, white, *around = _numbers_in(page, _REFERENCES, _FULL_RANGE)
    red, green, blue = _numbers_in(page, _COEFFICIENTS, _BT601)
    bright = (luma.astype(np.float32) - black) * (255 / max(1.0, white - black))
    cb = (chroma[..., 0].astype(np.float32) - around[0]) * (127 / max(1.0, around[1] - around[0]))
    cr = (chroma[..., 1].astype(np.float32) - around[2]) * (127 / max(1.0, around[3] - around[2]))
    result: NDArray[Any] = np.empty((*luma.shape, 3), np.float32)
    result[..., 0] = bright + (2 - 2 * red) * cr
    result[..., 2] = bright + (2 - 2 * blue) * cb
    result[..., 1] = (bright - blue * result[..., 2] - red * result[..., 0]) / max(green, 1e-3)
    rgb: NDArray[Any] = np.rint(np.clip(result, 0, 255)).astype(np.uint8)
    return rgb


def _numbers_in(page: Any, tag: int, otherwise: tuple[float, ...]) -> tuple[float, ...]:
    """The rationals of ``tag`` as numbers; ``otherwise`` where it is missing or makes no sense."""
    found = page.tags.get(tag)
    value = () if found is None or not isinstance(found.value, tuple) else found.value
    if len(value) != 2 * len(otherwise) or not all(value[1::2]):
        return otherwise
    return tuple(above / below for above, below in zip(value[0::2], value[1::2], strict=True))


def _plane(data: bytes, page: Any, part: slice, samples: int) -> NDArray[Any]:
    """(H, W, ``samples``) out of the strips or tiles ``part``."""
    import numpy as np

    bits, width = int(page.bitspersample), int(page.imagewidth)
    step = int(page.tilewidth) if page.is_tiled else width
    row_bytes = (width * samples * bits + 7) // 8
    step_bytes = (step * samples * bits + 7) // 8
    if page.is_tiled:
        row_bytes = -(-width // step) * step_bytes
    rows = _decompressed(data, page, part, row_bytes, step_bytes)
    pieces = []
    for left in range(0, row_bytes, step_bytes):
        piece = _numbers(rows[:, left : left + step_bytes], page, step, samples)
        pieces.append(piece[:, : width - left // step_bytes * step])
    return np.concatenate(pieces, axis=1) if len(pieces) > 1 else pieces[0]


def _decompressed(data: bytes, page: Any, part: slice, row_bytes: int, step_bytes: int) -> NDArray[Any]:
    """Rows of bytes, (H, ``row_bytes``)."""
    import numpy as np

    def longs(tag: int, values: list[int]) -> Field:
        return Field(tag, LONG, len(values), struct.pack(f"<{len(values)}I", *values))

    offsets, counts = list(page.dataoffsets[part]), list(page.databytecounts[part])
    fields = [
        longs(256, [row_bytes]),
        longs(257, [int(page.imagelength)]),
        longs(258, [8]),
        longs(259, [int(page.compression)]),
        longs(262, [1]),
        longs(266, [int(page.fillorder)]),
        longs(277, [1]),
    ]
    if page.is_tiled:
        fields += [longs(322, [step_bytes]), longs(323, [int(page.tilelength)])]
        fields += [longs(324, offsets), longs(325, counts)]
    else:
        rows = min(int(page.rowsperstrip), int(page.imagelength))
        fields += [longs(273, offsets), longs(278, [rows]), longs(279, counts)]
    at = len(data) + len(data) % 2
    file = (
        struct.pack("<2sHI", b"II", 42, at)
        + data[8:]
        + bytes(len(data) % 2)
        + packed(Directory(fields, {}), "<", at)
    )
    with pillow.quiet(), pillow.open_image(file, format_named("tiff")) as image:
        return np.asarray(image)


def _numbers(rows: NDArray[Any], page: Any, width: int, samples: int) -> NDArray[Any]:
    """The bytes of a strip or tile as (H, ``width``, ``samples``) numbers, with the predictor undone."""
    import numpy as np

    bits, height = int(page.bitspersample), rows.shape[0]
    if page.dtype is None or bits not in (8, 16, 32, 64):
        return _unpacked(rows, bits, width * samples).reshape(height, width, samples)
    kind = np.dtype(page.dtype)
    size = kind.itemsize
    if page.predictor == _FLOAT_DIFFERENCES:
        # Bytes of equal significance are together, the most significant first, as differences.
        planes = rows.reshape(height, size, width * samples)
        summed = _summed(planes.reshape(height, -1, samples)).reshape(planes.shape)
        big = np.ascontiguousarray(summed.swapaxes(1, 2)).view(kind.newbyteorder(">"))
        return np.asarray(big.astype(kind)).reshape(height, width, samples)
    order = kind.newbyteorder(page.parent.byteorder)
    numbers: NDArray[Any] = np.ascontiguousarray(rows).view(order).astype(kind)
    numbers = numbers.reshape(height, width, samples)
    return _summed(numbers) if page.predictor == _DIFFERENCES else numbers


def _summed(differences: NDArray[Any]) -> NDArray[Any]:
    import numpy as np

    return np.add.accumulate(differences, axis=1, dtype=differences.dtype)


#: Rows that are unpacked at a time: each of their bytes takes eight.
_ROWS = 256


def _unpacked(rows: NDArray[Any], bits: int, count: int) -> NDArray[Any]:
    """``count`` numbers of ``bits`` (up to 16) from each row, the most significant bit first."""
    import numpy as np

    result = np.empty((rows.shape[0], count), np.uint8 if bits <= 8 else np.uint16)
    weights = (1 << np.arange(bits - 1, -1, -1)).astype(np.uint16)
    for top in range(0, rows.shape[0], _ROWS):
        digits = np.unpackbits(np.ascontiguousarray(rows[top : top + _ROWS]), axis=1)[:, : count * bits]
        result[top : top + _ROWS] = digits.reshape(-1, count, bits) @ weights
    return result
