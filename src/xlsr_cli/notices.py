"""The fidelity contract: what an input held is kept, or a named notice says that it is not."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from xlsr_cli.errors import NotKeptError


@dataclass(frozen=True, kw_only=True)
class Notice:
    """Something that was not kept or that the user should know.

    ``code`` is a stable name (``alpha-dropped``), listed in ``docs/fidelity.md``; ``message`` is one
    sentence for people. ``loss`` tells whether something of the input is missing from the output:
    only those are errors under ``--strict``.
    """

    code: str
    message: str
    loss: bool = True


def enforce(notices: Iterable[Notice], *, strict: bool, name: str) -> None:
    """Raise :class:`NotKeptError` for the first loss when ``strict``; ``name`` is the file's."""
    if not strict:
        return
    for notice in notices:
        if notice.loss:
            raise NotKeptError(f"{name}: {notice.message} ({notice.code}); leave out --strict to accept that")


def counted(count: int, what: str) -> str:
    """``1 file``, ``2 files``, for sentences."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
