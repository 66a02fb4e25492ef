"""Netpbm's headers: the largest value of a sample is theirs alone to tell (netpbm, pgm(5), pam(5))."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from xlsr_cli.options import Size

if TYPE_CHECKING:
    from numpy.typing import NDArray

_PLAIN = re.compile(
    rb"P([1-6])(?:\s|#[^\n]*\n)+(\d+)(?:\s|#[^\n]*\n)+(\d+)(?:(?:\s|#[^\n]*\n)+(\d+))?(?:\s|#)", re.DOTALL
)
_PAM_FIELD = re.compile(rb"^(WIDTH|HEIGHT|DEPTH|MAXVAL)[ \t]+(\d+)[ \t]*\r?$", re.MULTILINE)

#: A header is a few dozen bytes, comments aside.
_MOST = 4096


@dataclass(frozen=True)
class PnmHeader:
    """``kind``: the digit behind the P. ``begin``: where the samples stand."""

    kind: int
    size: Size
    channels: int
    maximum: int
    begin: int


def read_pnm_header(data: bytes) -> PnmHeader | None:
    """The header of a PBM, PGM, PPM or PAM; None for floating point (PFM) and for what makes no sense."""
    if data[:2] == b"P7":
        return _pam(data[:_MOST])
    match = _PLAIN.match(data[:_MOST])
    if match is None:
        return None
    kind = int(match[1])
    maximum = 255 if kind in (1, 4) else int(match[4] or 0)
    if not 1 <= maximum <= 0xFFFF:
        return None
    size = Size(width=int(match[2]), height=int(match[3]))
    return PnmHeader(kind, size, 3 if kind in (3, 6) else 1, maximum, match.end())


def read_samples(data: bytes, header: PnmHeader) -> NDArray[Any] | None:
    """Samples as they stand, (H, W, C), of all kinds but bitmaps; None when the file ends too early."""
    import numpy as np

    count = header.size.pixels * header.channels
    shape = (header.size.height, header.size.width, header.channels)
    if header.kind in (2, 3):
        numbers = _COMMENT.sub(b"", data[header.begin :]).split(maxsplit=count)[:count]
        if len(numbers) < count or not all(number.isdigit() for number in numbers):
            return None
        plain = np.array(numbers, dtype=np.float64)
        return np.minimum(plain, header.maximum).astype(np.uint16).reshape(shape)
    kind = np.dtype(np.uint8 if header.maximum < 256 else ">u2")
    if len(data) < header.begin + count * kind.itemsize:
        return None
    return np.frombuffer(data, kind, count, header.begin).reshape(shape)


_COMMENT = re.compile(rb"#[^\n]*")


def _pam(head: bytes) -> PnmHeader | None:
    end = head.find(b"ENDHDR\n")
    fields = {name: int(value) for name, value in _PAM_FIELD.findall(head[: max(0, end)])}
    if len(fields) != 4 or not 1 <= fields[b"DEPTH"] <= 4 or not 1 <= fields[b"MAXVAL"] <= 0xFFFF:
        return None
    size = Size(width=fields[b"WIDTH"], height=fields[b"HEIGHT"])
    return PnmHeader(7, size, fields[b"DEPTH"], fields[b"MAXVAL"], end + len(b"ENDHDR\n"))
