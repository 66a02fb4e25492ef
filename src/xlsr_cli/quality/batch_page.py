"""The report of a batch as a page: a table that fits a phone, with a small before and after of each."""

from __future__ import annotations

import base64
import html
import os
from collections.abc import Iterator
from pathlib import Path
from string import Template
from urllib.parse import quote

from xlsr_cli.jobs.batch.journal import Entry
from xlsr_cli.jobs.batch.report import GENERATOR, Report
from xlsr_cli.jobs.inputs import kind_of_file
from xlsr_cli.quality.page import resource
from xlsr_cli.quality.preview import Preview, preview_of, previews_of_film

#: Pixels of the longer side of a small picture, and how many pairs a page holds.
_LONGEST = 480
_MOST_PAIRS = 100


def batch_page(report: Report, folder: Path, page: Path, title: str) -> str:
    """The page about ``report``, of files in ``folder``, as text; links are relative to ``page``.

    The first files that are done are shown small, a film by a frame from its middle. Nothing is loaded from
    anywhere.
    """
    entries = sorted(report.entries.values(), key=lambda entry: (entry.status != "failed", entry.name))
    pairs = _pairs(entries, report.out, folder)
    rows = "\n".join(_rows(entry, pairs.get(entry.name), folder, report.out, page) for entry in entries)
    first = f"; the first {len(pairs)} files are shown" if len(pairs) == _MOST_PAIRS else ""
    return Template(resource("batch.html")).substitute(
        generator=GENERATOR,
        title=html.escape(title),
        summary=html.escape(f"{report.summary()}{first}"),
        rows=rows,
    )


def _pairs(entries: list[Entry], out: Path, folder: Path) -> dict[str, tuple[Preview, Preview]]:
    """Small before and after of the first files that are done."""
    pairs: dict[str, tuple[Preview, Preview]] = {}
    for entry in entries:
        if len(pairs) == _MOST_PAIRS:
            break
        pair = _pair(folder / entry.name, out / entry.output) if entry.status == "done" else None
        if pair is not None:
            pairs[entry.name] = pair
    return pairs


def _pair(source: Path, output: Path) -> tuple[Preview, Preview] | None:
    if kind_of_file(str(source)) == "video":
        return previews_of_film(source, output, _LONGEST)
    before = preview_of(source, _LONGEST)
    after = None if before is None else preview_of(output, _LONGEST)
    return None if before is None or after is None else (before, after)


def _rows(entry: Entry, pair: tuple[Preview, Preview] | None, folder: Path, out: Path, page: Path) -> str:
    done = entry.status == "done"
    target = _link(out / entry.output, entry.output, page) if done else ""
    cells = [
        f"<td>{_link(folder / entry.name, entry.name, page)}</td>",
        f'<td class="status">{html.escape(entry.status)}</td>',
        f'<td class="size">{html.escape(_size(entry, pair))}</td>',
        f'<td data-name="output">{target}</td>' if done else "<td></td>",
        f"<td>{html.escape(entry.reason)}</td>",
    ]
    shown = ""
    if pair is not None:
        shown = f'<tr class="pair"><td colspan="5"><div>{"".join(_figures(pair))}</div></td></tr>'
    return f'<tbody class="{html.escape(entry.status)}"><tr>{"".join(cells)}</tr>{shown}</tbody>'


def _size(entry: Entry, pair: tuple[Preview, Preview] | None) -> str:
    """``52x40 → 104x80, 9 kB``; in megapixels where the picture was not opened."""
    if entry.status != "done":
        return ""
    count = entry.output_bytes
    held = f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{max(1, round(count / 1e3))} kB"
    pixels = f"{entry.megapixels:.2g} MP" if pair is None else f"{pair[0].size} → {pair[1].size}"
    return f"{pixels}, {held}"


def _link(path: Path, shown: str, page: Path) -> str:
    """A link from ``page`` to ``path``; its name alone where they have no folder in common."""
    try:
        relative = os.path.relpath(path.absolute(), page.absolute().parent)
    except ValueError:  # on another drive of Windows
        return html.escape(shown)
    address = quote(os.fsencode(relative.replace(os.sep, "/")))
    return f'<a href="{html.escape(address)}">{html.escape(shown)}</a>'


def _figures(pair: tuple[Preview, Preview]) -> Iterator[str]:
    for name, preview in zip(("before", "after"), pair, strict=True):
        address = f"data:{preview.kind};base64,{base64.b64encode(preview.data).decode()}"
        yield f'<figure><img alt="{name}" src="{address}"><figcaption>{name}</figcaption></figure>'
