"""Errors and notices about damaged files, and the message of a library that names the fault."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from xlsr_cli.errors import InputError
from xlsr_cli.formats import FALLBACK, Format
from xlsr_cli.media.native_stderr import native_messages
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


@contextmanager
def faults_as_damage(name: str, otherwise: str = "its pixels cannot be decoded") -> Iterator[list[str]]:
    """Within, any error of a library means that the file ``name`` is damaged: an :class:`InputError`.

    On a hostile file libraries raise nearly everything: OSError, SyntaxError, struct.error, KeyError,
    TypeError, ZeroDivisionError, RecursionError … each means the same. Yields a list in which, behind the
    block, the messages stand that native code printed; ``otherwise`` is the reason without any.
    """
    failure: Exception | None = None
    with native_messages() as messages:
        try:
            yield messages
        except (InputError, MemoryError):
            raise
        except Exception as error:
            failure = error
    if failure is not None:
        cut_off = isinstance(failure, OSError) and "truncated" in str(failure).partition("\n")[0]
        raise damaged(name, reason_in(messages, TRUNCATED if cut_off else otherwise)) from failure


def reason_in(messages: list[str], otherwise: str) -> str:
    """The last message of a library, which is nearest to the fault."""
    told = _faults(messages)
    return told[-1].rstrip(".") if told else otherwise


def _faults(messages: list[str]) -> list[str]:
    return [line for line in messages if not any(harmless in line for harmless in _HARMLESS)]
