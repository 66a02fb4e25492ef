"""How many programs (channels) an MPEG transport stream carries: FFmpeg knows, and PyAV does not tell."""

from __future__ import annotations

from pathlib import Path

_SYNC, _PACKET = 0x47, 188
#: The table of programs comes several times a second.
_HEAD = 1 << 20


def count_programs(path: Path) -> int:
    """The entries of the first program association table (ISO/IEC 13818-1, 2.4.4.3); 0 where there is none.

    Raises :class:`OSError` where the file cannot be read.
    """
    with path.open("rb") as file:
        data = file.read(_HEAD)
    for stride, offset in ((_PACKET, 0), (_PACKET + 4, 4)):  # Blu-rays put a time before every packet
        packets = range(offset, len(data) - _PACKET + 1, stride)
        if all(data[at] == _SYNC for at in packets[:8]):
            return next((n for at in packets if (n := _programs(data[at : at + _PACKET])) is not None), 0)
    return 0


def _programs(packet: bytes) -> int | None:
    """Programs in a packet that begins the table; None for any other packet."""
    begins, number = packet[1] & 0x40, (packet[1] & 0x1F) << 8 | packet[2]
    if number != 0 or not begins or not packet[3] & 0x10:
        return None
    at = 4 + (packet[4] + 1 if packet[3] & 0x20 else 0)
    table = packet[at + 1 + packet[at] :] if at < _PACKET else b""
    if len(table) < 8:
        return 0
    length = (table[1] & 0x0F) << 8 | table[2]
    entries = table[8 : 3 + length - 4]  # behind its head, before its checksum
    return sum(1 for n in range(0, len(entries) - 3, 4) if entries[n] or entries[n + 1])
