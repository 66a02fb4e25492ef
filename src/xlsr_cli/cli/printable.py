"""Text without terminal control: a file's name may hold escape sequences, line breaks and reversed text."""

from __future__ import annotations

from typing import Any

#: Joiners within words and emoji, which change nothing else.
_HARMLESS = "\u200c\u200d"


def printable(text: str, *, keep: str = "") -> str:
    """``text`` with an escape such as ``\\x1b`` for each character that would control the terminal.

    Bytes of a name that are no text become ``\\xff`` as well. ``keep``: characters that stay.
    """
    if text.isprintable():
        return text
    return "".join(c if c in keep or _is_shown(c) else _escape(c) for c in text)


def json_line(value: Any, *, ascii_only: bool = False) -> str:
    """``value`` as JSON on one line, without loss and without characters that control a terminal."""
    import json

    text = json.dumps(value, ensure_ascii=ascii_only, default=str)
    if text.isprintable():
        return text
    return "".join(c if _is_shown(c) else json.dumps(c)[1:-1] for c in text)


def _is_shown(character: str) -> bool:
    import unicodedata

    return character in _HARMLESS or unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Zl", "Zp")


def _escape(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # how Python holds a byte of a name that is no text
        code -= 0xDC00
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
