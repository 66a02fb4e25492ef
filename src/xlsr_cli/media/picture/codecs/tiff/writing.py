"""Write a TIFF: strips are compressed here, tifffile writes the file, and EXIF is appended."""

from __future__ import annotations

import io
import mmap
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from xlsr_cli.media.picture.exif import LONG, Directory, ExifBlock, Field, Order, packed
from xlsr_cli.media.picture.in_order import in_order
from xlsr_cli.media.picture.metadata import Metadata
from xlsr_cli.media.picture.pixels import bgr_of
from xlsr_cli.media.picture.source import Encoding
from xlsr_cli.notices import Notice

if TYPE_CHECKING:
    from xlsr_cli.engine.pixels import Pixels

XMP, IPTC = 700, 33723

#: Fields of the first directory that describe the picture and not the layout of its bytes: name of the
#: document, description, make, model, orientation, resolution, software, date, artist, computer,
#: copyright, rating, Windows' title, comment, author, keywords and subject.
DESCRIPTIVE = {
    0x010D, 0x010E, 0x010F, 0x0110, 0x0112, 0x011A, 0x011B, 0x0128, 0x0131, 0x0132, 0x013B, 0x013C, 0x8298,
    0x4746, 0x4749, 0x9C9B, 0x9C9C, 0x9C9D, 0x9C9E, 0x9C9F,
}  # fmt: skip

#: Those of them that are written from other values.
RESOLUTION_AND_TURN = {0x0112, 0x011A, 0x011B, 0x0128}

#: Rows are compressed in strips of about this size; larger ones hardly compress better.
_STRIP_BYTES = 256 << 10


def write(file: BinaryIO, pixels: Pixels, metadata: Metadata, encoding: Encoding) -> list[Notice]:
    """See :class:`~xlsr_cli.media.picture.codecs.Codec`; the encoded picture is never whole in memory."""
    import tifffile

    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    block = None if metadata.exif is None else ExifBlock(metadata.exif)
    order: Order = "<" if block is None else block.order
    extra = [
        (tag, kind, len(content), content, True)
        for tag, kind, content in ((XMP, 1, metadata.xmp), (IPTC, 7, metadata.iptc))
        if content is not None
    ]
    rows = max(1, min(int(pixels.shape[0]), _STRIP_BYTES // max(1, int(pixels[0].nbytes))))
    strips = in_order(partial(_strip, pixels, rows, order), range(0, pixels.shape[0], rows), encoding.threads)
    with tifffile.TiffWriter(file, byteorder=order, bigtiff=_needs_bigtiff(pixels)) as writer:
        writer.write(
            strips,
            shape=pixels.shape,
            dtype=pixels.dtype,
            photometric="rgb" if channels >= 3 else "minisblack",
            planarconfig=None if channels == 1 else "contig",
            extrasamples=["unassalpha"] if channels in (2, 4) else None,
            compression="zlib",
            predictor=2,
            rowsperstrip=rows,
            iccprofile=metadata.icc,
            resolution=metadata.dpi,
            resolutionunit="INCH" if metadata.dpi else None,
            software=False,
            metadata=None,
            extratags=extra,
        )
    if block is None:
        return []
    if _needs_bigtiff(pixels):
        message = f"a TIFF of {pixels.shape[1]}x{pixels.shape[0]} pixels is too large to hold EXIF"
        return [Notice(code="exif-dropped", message=message)]
    _add_exif(file, block)
    return []


def _add_exif(file: BinaryIO, block: ExifBlock) -> None:
    """Append EXIF's directories, and a new first directory: the old one plus pointers to them.

    tifffile writes no such pointers. The old directory stays in the file, unused: a few hundred bytes.
    """
    order = block.order
    with _content(file) as view:
        fields = ExifBlock(view).fields()
    written = {field.tag for field in fields}
    described, linked = block.directory()
    fields += [field for field in described if field.tag in DESCRIPTIVE - RESOLUTION_AND_TURN - written]
    for tag, directory in linked.items():
        at = _at_even_end(file)
        file.write(packed(directory, order, at))
        fields.append(Field(tag, LONG, 1, struct.pack(order + "I", at)))
    at = _at_even_end(file)
    file.write(packed(Directory(fields, {}), order, at))
    file.seek(4)
    file.write(struct.pack(order + "I", at))
    file.seek(0, io.SEEK_END)


@contextmanager
def _content(file: BinaryIO) -> Iterator[memoryview]:
    """The content of ``file``, mapped: only the parts that are used are read into memory."""
    if isinstance(file, io.BytesIO):
        with file.getbuffer() as view:
            yield view
        return
    file.flush()
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped, memoryview(mapped) as view:
        yield view


def _at_even_end(file: BinaryIO) -> int:
    """Go to the end, which directories want to be an even offset, and return it."""
    at = file.seek(0, io.SEEK_END)
    return at + file.write(b"\0") if at % 2 else at


def _strip(pixels: Pixels, rows: int, order: Order, top: int) -> bytes:
    """The ``rows`` from ``top`` on as a compressed strip: RGB order, each sample less the one to its left."""
    strip = bgr_of(pixels[top : top + rows])  # its own reverse
    differences = np.array(strip)
    differences[:, 1:] -= strip[:, :-1]
    return zlib.compress(differences.astype(differences.dtype.newbyteorder(order)).tobytes(), 3)


def _needs_bigtiff(pixels: Pixels) -> bool:
    """Whether offsets may exceed the 4 GiB of a plain TIFF; compression may make pixels slightly longer."""
    return int(pixels.nbytes) > (1 << 32) - (1 << 26)
