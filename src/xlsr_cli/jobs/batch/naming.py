"""The names of the outputs of a batch."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from pathlib import PurePosixPath

from xlsr_cli.formats import extension_for, format_for, writable_format
from xlsr_cli.jobs.batch.journal import Entry
from xlsr_cli.jobs.batch.scan import Found
from xlsr_cli.options import PictureOptions


def output_names(
    found: list[Found], options: PictureOptions, known: Mapping[str, Entry]
) -> tuple[dict[str, str], dict[str, str]]:
    """The output of each file, and a sentence about each that did not get its first choice, by name.

    The tree is mirrored, the extension is that of the format written. Where two inputs would share one
    output (``a.jpg`` and ``a.png`` with --format png, or names that differ only in case or in how é is
    written), an input that had it in an earlier run keeps it, else the one with just this name
    gets it; for the other one, its extension becomes part of the stem and, if that is taken too, a number.
    """
    wanted = {each.name: _wanted(PurePosixPath(each.name), each, options) for each in found}
    names = sorted(wanted, key=lambda name: wanted[name] != name)
    taken = {_key(str(parent)) for name in names for parent in PurePosixPath(name).parents}
    targets: dict[str, str] = {}
    renamed: dict[str, str] = {}
    for name in names:
        if name in known and _is_variant(known[name].output, wanted[name]):
            targets[name] = known[name].output
            taken.add(_key(targets[name]))
    for name in names:
        if name in targets:
            continue
        candidate, number = wanted[name], 1
        while _key(candidate) in taken:
            path = PurePosixPath(wanted[name])
            extension = PurePosixPath(name).suffix[1:] or "file"
            suffix = f"_{extension}" if number == 1 else f"_{extension}{number}"
            candidate = str(path.with_name(f"{path.stem}{suffix}{path.suffix}"))
            number += 1
        if candidate != wanted[name]:
            renamed[name] = f"{name} -> {candidate} ({wanted[name]} is taken by another file)"
        targets[name] = candidate
        taken.add(_key(candidate))
    return targets, renamed


def _wanted(name: PurePosixPath, found: Found, options: PictureOptions) -> str:
    """The output's first choice; what the content is decides the format, as in ``xlsr upscale``.

    A film whose container cannot be written becomes a Matroska file.
    """
    if found.format is None:
        from xlsr_cli.media.video.output.containers import default_suffix

        return str(name.with_suffix(default_suffix(name)))
    if found.kind == "animation" and options.format is None:
        return str(name)
    written = options.format or writable_format(found.format)
    if format_for(name.name) == written:
        return str(name)
    if not name.suffix:
        return str(name) + extension_for(written)
    return str(name.with_suffix(extension_for(written)))


def _is_variant(target: str, wanted: str) -> bool:
    """Whether an earlier run may have given ``target`` to a picture that wants ``wanted``."""
    had, path = PurePosixPath(target), PurePosixPath(wanted)
    if (had.parent, had.suffix) != (path.parent, path.suffix):
        return False
    return had.stem == path.stem or had.stem.startswith(f"{path.stem}_")


def _key(name: str) -> str:
    """A key that is the same for names that some file systems do not tell apart."""
    return name.casefold() if name.isascii() else unicodedata.normalize("NFC", name).casefold()
