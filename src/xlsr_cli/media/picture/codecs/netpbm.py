"""PNM: PBM, PGM, PPM, PAM and PFM, headers and samples as described in netpbm's pgm(5), pam(5) and others.

OpenCV does not scale binary samples, Pillow reads no colour of 16 bits, and neither reads all PAMs.
netpbmfile would be one more dependency, and leaves scaling and comments among samples to its caller.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

from xlsr_cli.formats import Format
from xlsr_cli.media.picture.codecs import opencv
from xlsr_cli.media.picture.damage import TRUNCATED, damaged, not_supported
from xlsr_cli.media.picture.losses import FLOAT_CONVERTED, behind_the_end, further_pages
from xlsr_cli.media.picture.metadata import Metadata
from xlsr_cli.media.picture.pixels import bgr_of, from_floats, full_range
from xlsr_cli.media.picture.source import Decoded, Encoding, Source
from xlsr_cli.notices import Notice
from xlsr_cli.options import Size

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from xlsr_cli.engine.pixels import Pixels

_PLAIN = re.compile(
    rb"P([1-6])(?:\s|#[^\n]*\n)+(\d+)(?:\s|#[^\n]*\n)+(\d+)(?:(?:\s|#[^\n]*\n)+(\d+))?(?:\s|#[^\n]*\n)",
    re.DOTALL,
)
_FLOATING = re.compile(rb"P([Ff])\s+(\d+)\s+(\d+)\s+(-?)[\d.]+(?:[eE][-+]?\d+)?\s")
_PAM_FIELD = re.compile(rb"^(WIDTH|HEIGHT|DEPTH|MAXVAL)[ \t]+(\d+)[ \t]*\r?$", re.MULTILINE)

_HEADER_COMMENT = re.compile(rb"#([^\n]*)")
#: The kind of comments that a PNM holds, see :class:`~xlsr_cli.media.picture.metadata.Metadata`.
_COMMENT_KIND = b"PNM"

#: Samples that are written as text, and the comments among them, of which no file has so many.
_SAMPLES_AS_TEXT = re.compile(rb"(?:[\d\s]+|#[^\n]*)*+")
_NUMBERS, _COMMENT, _MOST_COMMENTS = re.compile(rb"[\d\s]*"), re.compile(rb"#[^\n]*"), 100_000

#: A header is a few dozen bytes, comments aside; pictures of one file that are counted.
_MOST, _MOST_PAGES = 4096, 200


def read_header(data: bytes, name: str, format: Format) -> Source:
    """See :class:`~xlsr_cli.media.picture.codecs.Codec`; ``detail`` is what the header says of samples."""
    if data[:2] == b"P7" and b"\nTUPLTYPE CMYK" in data[:_MOST].partition(b"ENDHDR\n")[0]:
        raise not_supported(name, "a PAM of CMYK")  # as ImageMagick writes them
    header = _read_header(data)
    if header is None:
        raise damaged(name, "its PNM header makes no sense")
    pages, end = _count_pages(data, header)
    comments = (found.strip() for found in _HEADER_COMMENT.findall(data[: header.begin]))
    return Source(
        data=data,
        name=name,
        format=format.name,
        stored_size=header.size,
        channels=header.channels,
        bits=header.maximum.bit_length(),
        maximum=header.maximum,
        pages=pages,
        metadata=Metadata(text=tuple((_COMMENT_KIND, comment) for comment in comments if comment)),
        notices=(*further_pages(pages), *behind_the_end(data[end:])),
        detail=header,
    )


def read_pixels(source: Source, max_pixels: int) -> Decoded:
    """See :class:`~xlsr_cli.media.picture.codecs.Codec`."""
    header = source.detail
    assert isinstance(header, _Header)
    if header.kind in "14":
        return opencv.read_pixels(source, max_pixels)
    samples = _read_samples(source.data, header)
    if samples is None:
        raise damaged(source.name, TRUNCATED)
    if header.floating:
        return Decoded(pixels=bgr_of(from_floats(samples, source.name)), notices=[FLOAT_CONVERTED])
    return Decoded(pixels=bgr_of(full_range(samples, header.maximum)))


def write(file: BinaryIO, pixels: Pixels, metadata: Metadata, encoding: Encoding) -> list[Notice]:
    """See :class:`~xlsr_cli.media.picture.codecs.Codec`."""
    encoded = opencv.imencode(".pgm" if pixels.ndim == 2 else ".ppm", pixels, [])
    comments = [b"# " + comment.replace(b"\n", b" ") for kind, comment in metadata.text]
    file.write(b"\n".join([bytes(encoded[:2]), *comments]))
    file.write(encoded[2:])
    return []


@dataclass(frozen=True)
class _Header:
    """``kind``: the letter behind the P. ``begin``: where samples begin. ``big_endian``: of floats."""

    kind: str
    size: Size
    channels: int
    maximum: int
    begin: int
    big_endian: bool = True

    @property
    def floating(self) -> bool:
        """Whether the samples are floating point, as in a PFM."""
        return self.kind in "Ff"

    @property
    def end(self) -> int | None:
        """Where the samples end; None for samples written as text."""
        if self.kind in "123":
            return None
        if self.kind == "4":
            return self.begin + (self.size.width + 7) // 8 * self.size.height
        return self.begin + self.size.pixels * self.channels * self.sample_bytes

    @property
    def sample_bytes(self) -> int:
        """Of a binary sample."""
        return 4 if self.floating else 1 if self.maximum < 256 else 2


def _read_header(data: bytes) -> _Header | None:
    """The header of a PBM, PGM, PPM, PAM or PFM; None if it makes no sense."""
    if data[:2] == b"P7":
        return _pam(data[:_MOST])
    if (match := _FLOATING.match(data[:_MOST])) is not None:
        size = Size(width=int(match[2]), height=int(match[3]))
        channels = 3 if match[1] == b"F" else 1
        return _Header(match[1].decode(), size, channels, 0xFFFF, match.end(), big_endian=match[4] == b"")
    match = _PLAIN.match(data[:_MOST])
    if match is None:
        return None
    kind = match[1].decode()
    maximum = 255 if kind in "14" else int(match[4] or 0)
    if not 1 <= maximum <= 0xFFFF:
        return None
    size = Size(width=int(match[2]), height=int(match[3]))
    return _Header(kind, size, 3 if kind in "36" else 1, maximum, match.end())


def _count_pages(data: bytes, header: _Header) -> tuple[int, int]:
    """How many pictures ``data`` holds, of which ``header`` describes the first, and where they end."""
    pages, begin, end = 1, header.end, header.end
    while begin is not None and pages < _MOST_PAGES:
        following = _read_header(data[begin : begin + _MOST])
        if following is None or following.size.pixels == 0:
            break
        pages += 1
        begin = end = None if following.end is None else begin + following.end
    if end is None and pages == 1:  # behind the last number, comment or white space
        text = _SAMPLES_AS_TEXT.match(data, header.begin)
        end = text.end() if text else None
    return pages, end or len(data)


def _read_samples(data: bytes, header: _Header) -> NDArray[Any] | None:
    """Samples as stored, (H, W, C), of all kinds but bitmaps; None if the file ends too early."""
    import numpy as np

    count = header.size.pixels * header.channels
    shape = (header.size.height, header.size.width, header.channels)
    if header.kind in "23":
        if len(data) - header.begin < 2 * count - 1:  # a digit each, and what parts them
            return None
        written = _NUMBERS.match(_COMMENT.sub(b"", data[header.begin :], _MOST_COMMENTS))
        plain = np.fromstring(written[0] if written else b"", np.int64, count, sep=" ")
        if len(plain) < count:
            return None
        return np.clip(plain, 0, header.maximum).astype(np.uint16).reshape(shape)
    if len(data) < header.begin + count * header.sample_bytes:
        return None
    if header.floating:  # from the lowest row up
        order = np.dtype(">f4" if header.big_endian else "<f4")
        return np.frombuffer(data, order, count, header.begin).astype(np.float32).reshape(shape)[::-1]
    kind = np.dtype(np.uint8 if header.maximum < 256 else ">u2")
    return np.frombuffer(data, kind, count, header.begin).reshape(shape)


def _pam(head: bytes) -> _Header | None:
    end = head.find(b"ENDHDR\n")
    fields = {name: int(value) for name, value in _PAM_FIELD.findall(head[: max(0, end)])}
    if len(fields) != 4 or not 1 <= fields[b"DEPTH"] <= 4 or not 1 <= fields[b"MAXVAL"] <= 0xFFFF:
        return None
    size = Size(width=fields[b"WIDTH"], height=fields[b"HEIGHT"])
    return _Header("7", size, fields[b"DEPTH"], fields[b"MAXVAL"], end + len(b"ENDHDR\n"))
