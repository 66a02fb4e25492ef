"""Decompress samples of TIFFs with Pillow's libtiff, by presenting them as plain bytes.

Pillow's libtiff knows the compressions, but only few layouts of samples. So it gets a directory that
describes each row of a plane as a row of 8-bit grays, and decompresses the bytes unchanged. Predictor, byte
order and bits are applied here. imagecodecs could replace this module, but its wheel is some 20 MB for a few
rare layouts.
"""

from __future__ import annotations

import struct
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
