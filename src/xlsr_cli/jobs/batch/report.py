"""The report of a batch: counts, JSON and HTML."""

from __future__ import annotations

import html
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from xlsr_cli.errors import UsageError
from xlsr_cli.jobs.batch.item import ItemResult
from xlsr_cli.jobs.batch.journal import Entry
from xlsr_cli.media.atomic import atomic_output, check_output


@dataclass
class Report:
    """Collects the results of a batch into ``out``. ``failed``: reasons by name, also of earlier runs."""

    out: Path
    done: int = 0
    kept: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    megapixels: float = 0.0
    seconds: float = 0.0
    entries: dict[str, Entry] = field(default_factory=dict)

    def add(self, result: ItemResult) -> None:
        """Count one file."""
        self.entries[result.entry.name] = result.entry
        self.failed.pop(result.entry.name, None)
        if result.outcome == "done":
            self.done += 1
            self.megapixels += result.entry.megapixels
        elif result.outcome == "kept":
            self.kept += 1
        else:
            self.failed[result.entry.name] = result.entry.reason

    def add_all(self, later: Report) -> None:
        """Add the counts of a later run."""
        for name in later.entries:
            self.failed.pop(name, None)
        self.done += later.done
        self.kept += later.kept
        self.failed |= later.failed
        self.megapixels += later.megapixels
        self.seconds += later.seconds
        self.entries |= later.entries

    def add_others(self, entries: Iterable[Entry]) -> None:
        """List what other shards have done; it is not counted here."""
        for entry in entries:
            if entry.status != "working":
                self.entries.setdefault(entry.name, entry)

    def tally(self) -> str:
        """The counts, for people."""
        kept = f", {self.kept} kept from before" if self.kept else ""
        return f"{self.done} done{kept}, {len(self.failed)} failed"

    def summary(self) -> str:
        """One line for people."""
        rate = f", {self.megapixels / self.seconds:.1f} MP/s" if self.seconds > 0 and self.done else ""
        return self.tally() + rate

    def as_json(self) -> dict[str, object]:
        """Everything, as it goes into a JSON report."""
        return {
            "generator": _GENERATOR,
            **self.counts(),
            "items": [_described(entry, self.out) for _, entry in sorted(self.entries.items())],
        }

    def counts(self) -> dict[str, object]:
        """The numbers alone."""
        return {
            "done": self.done,
            "kept": self.kept,
            "failed": len(self.failed),
            "megapixels": round(self.megapixels, 3),
            "seconds": round(self.seconds, 3),
        }


#: In the first lines of every report, by which an older report is recognised.
_GENERATOR = "xlsr batch"


def check_report(path: Path, *, overwrite: bool) -> None:
    """Find out before any work whether a report can be written to ``path``.

    Raises :class:`UsageError` when the name asks for neither HTML nor JSON, :class:`OutputError` when the
    place cannot be written, or holds something else than an older report and ``overwrite`` is not given.
    """
    if path.suffix.lower() not in (".html", ".htm", ".json"):
        raise UsageError(f"--report {path}: give a name that ends in .html or .json")
    check_output(path, overwrite=overwrite or _is_report(path))


def _is_report(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return _GENERATOR.encode() in file.read(200)
    except OSError:
        return False


def write_report(report: Report, path: Path, title: str, *, overwrite: bool) -> None:
    """Write ``path`` as HTML or JSON, as its name says; an older report is replaced."""
    if path.suffix.lower() == ".json":
        text = json.dumps(report.as_json(), ensure_ascii=False, indent=2) + "\n"
    else:
        text = _as_html(report, title)
    with atomic_output(path, overwrite=overwrite or _is_report(path)) as file:
        file.write(text.encode("utf-8", "backslashreplace"))


def _described(entry: Entry, out: Path) -> dict[str, object]:
    described: dict[str, object] = {"name": entry.name, "status": entry.status}
    if entry.status == "done":
        described |= {"output": str(out / entry.output), "bytes": entry.output_bytes}
        described |= {"sha256": entry.output_sha256}
        described |= {"megapixels": round(entry.megapixels, 4), "seconds": round(entry.seconds, 4)}
        described |= {"compression": entry.reason or None}
    else:
        described["reason"] = entry.reason
    return described


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="generator" content="{generator}">
<meta name="viewport" content="width=device-width">
<title>{title}</title><style>
:root {{ color-scheme: light dark }}
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem }}
table {{ border-collapse: collapse; width: 100% }}
td, th {{ text-align: left; padding: .3rem .6rem; border-bottom: 1px solid #8884; overflow-wrap: anywhere }}
.failed td:nth-child(2) {{ color: #d33; font-weight: 600 }}
</style></head><body><h1>{title}</h1><p>{summary}</p>
<table><thead><tr><th>file</th><th>status</th><th>output</th>
<th>compression, or why it failed</th></tr></thead><tbody>
{rows}
</tbody></table></body></html>
"""


def _as_html(report: Report, title: str) -> str:
    entries = sorted(report.entries.values(), key=lambda entry: (entry.status != "failed", entry.name))
    rows = "\n".join(_row(entry, report.out) for entry in entries)
    return _PAGE.format(
        generator=_GENERATOR, title=html.escape(title), summary=html.escape(report.summary()), rows=rows
    )


def _row(entry: Entry, out: Path) -> str:
    done = entry.status == "done"
    texts = (entry.name, entry.status, str(out / entry.output) if done else "", entry.reason)
    cells = "".join(f"<td>{html.escape(text)}</td>" for text in texts)
    return f'<tr class="{html.escape(entry.status)}">{cells}</tr>'
