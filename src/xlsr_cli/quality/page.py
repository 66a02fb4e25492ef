"""The before/after page: one HTML file that loads nothing from the network."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any, BinaryIO
from urllib.parse import quote

from xlsr_cli.errors import UsageError
from xlsr_cli.formats import FALLBACK, format_named
from xlsr_cli.jobs.picture import open_file
from xlsr_cli.media.atomic import atomic_output, check_output
from xlsr_cli.media.picture.source import Picture
from xlsr_cli.media.picture.steps.decoding import decode
from xlsr_cli.media.picture.steps.encoding import encode
from xlsr_cli.options import DEFAULT_MAX_PIXELS
from xlsr_cli.quality.preview import preview_of

#: Bytes that are encoded at a time; a multiple of three gives base64 without padding in the middle.
_CHUNK = 3 << 18


@dataclass(frozen=True, kw_only=True)
class PagePicture:
    """One side of a pair: an encoded picture and what it is called. ``kind`` is its MIME type."""

    data: bytes
    kind: str
    label: str


@dataclass(frozen=True, kw_only=True)
class PagePair:
    """Two pictures to compare; the smaller one is shown enlarged to the size of the other, in square pixels.

    ``facts`` are shown beneath: name and value, such as ``("PSNR", "31.2 dB")``, and ``links``: text and
    address, relative to the page.
    """

    before: PagePicture
    after: PagePicture
    name: str
    facts: Sequence[tuple[str, str]] = field(default=())
    links: Sequence[tuple[str, str]] = field(default=())


@dataclass(frozen=True, kw_only=True)
class FilePair:
    """Two picture files to compare, and what they are called."""

    before: Path
    after: Path
    name: str


#: Pages of more bytes of pictures hold previews, whose longer side has so many pixels.
_LARGE_PAGE = 20_000_000
_PREVIEW_SIDE = 1600


def file_pairs(files: Sequence[FilePair], page: Path, *, full: bool) -> list[PagePair]:
    """The pairs for ``page``: the files themselves, or previews of all where they are too many bytes.

    ``full``: beside previews, the files are copied into a folder beside the page and linked. Raises
    :class:`InputError` for what cannot be read, and :class:`OutputError`.
    """
    size = sum(path.stat().st_size for pair in files for path in (pair.before, pair.after))
    if size <= _LARGE_PAGE:
        return [file_pair(pair.before, pair.after, pair.name) for pair in files]
    return [_preview_pair(pair, page, full=full, number=number) for number, pair in enumerate(files, 1)]


def _preview_pair(pair: FilePair, page: Path, *, full: bool, number: int) -> PagePair:
    """Both sides shrunk by the same factor, so that the larger one has the size of a preview."""
    shown = []
    after = preview_of(pair.after, _PREVIEW_SIDE)
    before = None
    if after is not None:
        longest = max(after.size.width, after.size.height)
        small = open_file(pair.before).size
        side = max(small.width, small.height) * min(1.0, _PREVIEW_SIDE / longest)
        before = preview_of(pair.before, max(1, round(side)))
    if after is None or before is None:
        return file_pair(pair.before, pair.after, pair.name)
    for label, path, preview in (("before", pair.before, before), ("after", pair.after, after)):
        text = f"{label}: {path.name} ({preview.size}, preview)"
        shown.append(PagePicture(data=preview.data, kind=preview.kind, label=text))
    links = []
    if full:
        for label, path in (("before", pair.before), ("after", pair.after)):
            links.append((f"{label}, full size", _put_beside(path, page, f"{number}-{label}{path.suffix}")))
    return PagePair(before=shown[0], after=shown[1], name=pair.name, links=links)


def _put_beside(path: Path, page: Path, name: str) -> str:
    """Copy ``path`` into the folder that belongs to ``page``; its address from there."""
    folder = page.with_name(f"{page.stem}_files")
    folder.mkdir(exist_ok=True)
    with path.open("rb") as source, atomic_output(folder / name, overwrite=True) as target:
        shutil.copyfileobj(source, target)
    return quote(f"{folder.name}/{name}")


def picture_file(path: Path, label: str) -> PagePicture:
    """The picture file ``path`` for the page, its own bytes where browsers show the format.

    Raises :class:`InputError` where it cannot be read.
    """
    source = open_file(path)
    kind = format_named(source.format).mime
    if kind is not None:
        return PagePicture(data=source.data, kind=kind, label=label)
    picture, _ = decode(source, max_pixels=DEFAULT_MAX_PIXELS)
    return picture_pixels(picture, label)


def file_pair(before: Path, after: Path, name: str) -> PagePair:
    """Two picture files, labelled as before and after. Raises :class:`InputError` as :func:`picture_file`."""
    return PagePair(
        before=picture_file(before, f"before: {before.name}"),
        after=picture_file(after, f"after: {after.name}"),
        name=name,
    )


def picture_pixels(picture: Picture, label: str) -> PagePicture:
    """A decoded picture for the page, in a format that every browser shows."""
    data, _ = encode(picture, FALLBACK.name)
    return PagePicture(data=data, kind=FALLBACK.mime or "", label=label)


def check_page(path: Path, *, overwrite: bool) -> None:
    """Find out before the work what would make :func:`write_page` fail.

    Raises :class:`UsageError` for a name that is not a page's, and :class:`OutputError`.
    """
    if path.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"--html writes a page: give a name that ends in .html, not {path.name}")
    check_output(path, overwrite=overwrite)


def write_page(path: Path, pairs: Sequence[PagePair], *, title: str, overwrite: bool = False) -> None:
    """Write the page about ``pairs`` (at least one), atomically.

    Its size is 4/3 of the pictures', each counted once, and less than 100 KB more. Raises
    :class:`OutputError` where ``path`` exists and ``overwrite`` is false, or cannot be written.
    """
    names: dict[bytes, str] = {}
    for pair in pairs:
        for _, picture in _sides(pair):
            names.setdefault(picture.data, f"picture-{len(names)}")
    index = {"pairs": [_described(pair, names) for pair in pairs]}
    script = resource("page.js")
    # The page may run this one script, and load nothing at all.
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    text = Template(resource("page.html")).substitute(
        title=html.escape(title),
        policy=f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'",
        style=resource("page.css"),
        # Only this character could end the script element.
        index=json.dumps(index).replace("<", "\\u003c"),
        script=script,
    )
    head, tail = text.split("<!-- pictures -->")
    with atomic_output(path, overwrite=overwrite) as file:
        file.write(head.encode())
        for data, name in names.items():
            _embed(file, name, data)
        file.write(tail.encode())


def _described(pair: PagePair, names: dict[bytes, str]) -> dict[str, Any]:
    sides = {
        side: {"id": names[picture.data], "type": picture.kind, "label": picture.label}
        for side, picture in _sides(pair)
    }
    facts, links = (list(map(list, each)) for each in (pair.facts, pair.links))
    return {"name": pair.name, "facts": facts, "links": links, **sides}


def _sides(pair: PagePair) -> Iterator[tuple[str, PagePicture]]:
    yield "before", pair.before
    yield "after", pair.after


def _embed(file: BinaryIO, name: str, data: bytes) -> None:
    """Write the bytes as a script element of type text/plain: browsers keep its text and do not run it."""
    file.write(f'<script type="text/plain" id="{name}">'.encode())
    for start in range(0, len(data), _CHUNK):
        file.write(base64.b64encode(data[start : start + _CHUNK]))
    file.write(b"</script>\n")


def resource(name: str) -> str:
    """The text of a file of this folder."""
    return (files("xlsr_cli.quality") / name).read_text(encoding="utf-8")
