"""What a batch came to: counts, the exit code, JSON and HTML."""

from __future__ import annotations

import html
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from xlsr_cli.errors import ExitCode, UsageError
from xlsr_cli.jobs.item import ItemResult
from xlsr_cli.jobs.journal import Entry
from xlsr_cli.jobs.plan import Refusal
from xlsr_cli.media.atomic import atomic_output


@dataclass
class Report:
    """Grows while the batch runs; the exit code follows from it."""

    done: int = 0
    kept: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)
    megapixels: float = 0.0
    seconds: float = 0.0
    entries: dict[str, Entry] = field(default_factory=dict)

    def add(self, result: ItemResult) -> None:
        """Count one file."""
        self.entries[result.entry.name] = result.entry
        if result.outcome == "done":
            self.done += 1
            self.megapixels += result.entry.megapixels
        elif result.outcome == "kept":
            self.kept += 1
        else:
            self.failed.append((result.entry.name, result.entry.reason))

    def refuse(self, refusals: Iterable[Refusal]) -> None:
        """Count files that were refused before any work."""
        for refusal in refusals:
            self.failed.append((refusal.name, refusal.reason))
            self.entries[refusal.name] = Entry(name=refusal.name, status="failed", reason=refusal.reason)

    @property
    def exit_code(self) -> ExitCode:
        """OK, or ITEMS_FAILED when any file failed, now or in a run before."""
        return ExitCode.ITEMS_FAILED if self.failed else ExitCode.OK

    def summary(self) -> str:
        """One line for people."""
        rate = f", {self.megapixels / self.seconds:.1f} MP/s" if self.seconds > 0 and self.done else ""
        return f"{self.done} done, {self.kept} kept from before, {len(self.failed)} failed{rate}"

    def as_json(self) -> dict[str, object]:
        """Everything, as it goes into a JSON report."""
        return {
            "done": self.done,
            "kept": self.kept,
            "failed": len(self.failed),
            "megapixels": round(self.megapixels, 3),
            "seconds": round(self.seconds, 3),
            "items": [_described(entry) for _, entry in sorted(self.entries.items())],
        }


def check_report_name(path: Path) -> None:
    """Raise :class:`UsageError` when ``path`` asks for neither HTML nor JSON."""
    if path.suffix.lower() not in (".html", ".htm", ".json"):
        raise UsageError(f"--report {path}: give a name that ends in .html or .json")


def write_report(report: Report, path: Path, title: str) -> None:
    """Write ``path`` as HTML or JSON, as its name says; an older report is replaced."""
    if path.suffix.lower() == ".json":
        text = json.dumps(report.as_json(), ensure_ascii=False, indent=2) + "\n"
    else:
        text = _as_html(report, title)
    with atomic_output(path, overwrite=True) as file:
        file.write(text.encode("utf-8", "backslashreplace"))


def _described(entry: Entry) -> dict[str, object]:
    described: dict[str, object] = {"name": entry.name, "status": entry.status}
    if entry.status == "done":
        described |= {"output": entry.output, "bytes": entry.output_bytes, "sha256": entry.output_sha256}
        described |= {"megapixels": round(entry.megapixels, 4), "seconds": round(entry.seconds, 4)}
    else:
        described["reason"] = entry.reason
    return described


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title><style>
:root {{ color-scheme: light dark }}
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem }}
table {{ border-collapse: collapse; width: 100% }}
td, th {{ text-align: left; padding: .3rem .6rem; border-bottom: 1px solid #8884; overflow-wrap: anywhere }}
.failed td:nth-child(2) {{ color: #d33; font-weight: 600 }}
</style></head><body><h1>{title}</h1><p>{summary}</p>
<table><thead><tr><th>file</th><th>status</th><th>what</th></tr></thead><tbody>
{rows}
</tbody></table></body></html>
"""


def _as_html(report: Report, title: str) -> str:
    entries = sorted(report.entries.values(), key=lambda entry: (entry.status != "failed", entry.name))
    rows = "\n".join(
        f'<tr class="{html.escape(entry.status)}"><td>{html.escape(entry.name)}</td>'
        f"<td>{html.escape(entry.status)}</td><td>{html.escape(entry.reason or entry.output)}</td></tr>"
        for entry in entries
    )
    return _PAGE.format(title=html.escape(title), summary=html.escape(report.summary()), rows=rows)
