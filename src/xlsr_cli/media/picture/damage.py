"""Errors and notices about damaged files, and the message of a library that names the fault."""

from __future__ import annotations

from xlsr_cli.errors import InputError
from xlsr_cli.formats import FALLBACK, Format
from xlsr_cli.notices import Notice

TRUNCATED = "it ends before its last pixel"

#: Messages of libjpeg and libtiff about files whose pixels are nevertheless complete.
_HARMLESS = ("extraneous bytes before marker", "Warning: unknown JFIF revision")


def damaged(name: str, reason: str) -> InputError:
    """The error for a file that is broken; ``reason`` is a part of a sentence."""
    return InputError(f"{name} is damaged: {reason}; get an intact copy")


def refusal_of(format: Format, name: str) -> str | None:
    """The sentence about a file of a format that cannot be read here; None where it can."""
    if format.lacks_library:
        return (
            f"{name} is a {format.shown} picture, whose decoder is not installed; "
            f"pip install 'xlsr-cli[{format.extra}]' installs it"
        )
    return f"{name} is {format.refused}; convert it to {FALLBACK.shown} first" if format.refused else None


def missing_library(format: Format, name: str) -> InputError:
    """The error for a file of a format whose library cannot be imported."""
    return InputError(
        refusal_of(format, name)
        or f"{name} is a {format.shown} picture, whose decoder does not start; "
        f"pip install --force-reinstall 'xlsr-cli[{format.extra}]' installs it anew"
    )


def not_supported(name: str, kind: str) -> InputError:
    """The error for an intact file of a ``kind`` that cannot be read."""
    return InputError(f"{name} is {kind}, which is not supported; convert it to {FALLBACK.shown} first")


def notices_of(messages: list[str]) -> list[Notice]:
    """A notice that parts of a picture may be wrong, if a decoder printed that."""
    told = _faults(messages)
    if not told:
        return []
    message = f"parts of it are damaged and may look wrong ({told[0].rstrip('.')})"
    return [Notice(code="damaged", message=message)]


def reason_in(messages: list[str], otherwise: str) -> str:
    """The last message of a library, which is nearest to the fault."""
    told = _faults(messages)
    return told[-1].rstrip(".") if told else otherwise


def reason_of(failure: Exception | None) -> str:
    """The message of an exception of Pillow or tifffile, as a part of a sentence."""
    text = str(failure or "").splitlines()[:1]
    if isinstance(failure, OSError) and text and "truncated" in text[0]:
        return TRUNCATED
    return "its pixels cannot be decoded"


def _faults(messages: list[str]) -> list[str]:
    return [line for line in messages if not any(harmless in line for harmless in _HARMLESS)]
