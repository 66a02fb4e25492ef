"""The report of a batch: counts, JSON and HTML."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from xlsr_cli.errors import UsageError
from xlsr_cli.jobs.batch.item import ItemResult
from xlsr_cli.jobs.batch.journal import Entry
from xlsr_cli.media.atomic import atomic_output, check_output
from xlsr_cli.notices import counted


@dataclass
class Report:
    """Collects the results of a batch into ``out``. ``failed``: reasons by name, also of earlier runs.
    ``shared``: films of which this shard has done its share, and which others have to complete."""

    out: Path
    done: int = 0
    kept: int = 0
    shared: int = 0
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
        elif result.outcome == "shared":
            self.shared += 1
        else:
            self.failed[result.entry.name] = result.entry.reason

    def add_all(self, later: Report) -> None:
        """Add the counts of a later run."""
        for name in later.entries:
            self.failed.pop(name, None)
        self.done += later.done
        self.kept += later.kept
        self.shared += later.shared
        self.failed |= later.failed
        self.megapixels += later.megapixels
        self.seconds += later.seconds
        self.entries |= later.entries

    def add_others(self, entries: Iterable[Entry]) -> None:
        """List what other shards have done; it is not counted here."""
        for entry in entries:
            mine = self.entries.get(entry.name)
            if entry.status != "working" and (mine is None or mine.status == "working"):
                self.entries[entry.name] = entry

    def tally(self) -> str:
        """The counts, for people."""
        kept = f", {self.kept} kept from before" if self.kept else ""
        shared = f", this shard's share of {counted(self.shared, 'film')}" if self.shared else ""
        return f"{self.done} done{kept}{shared}, {len(self.failed)} failed"

    def summary(self) -> str:
        """One line for people."""
        rate = f", {self.megapixels / self.seconds:.1f} MP/s" if self.seconds > 0 and self.done else ""
        return self.tally() + rate

    def as_json(self) -> dict[str, object]:
        """Everything, as it goes into a JSON report."""
        return {
            "generator": GENERATOR,
            **self.counts(),
            "items": [_described(entry, self.out) for _, entry in sorted(self.entries.items())],
        }

    def counts(self) -> dict[str, object]:
        """The numbers alone."""
        return {
            "done": self.done,
            "kept": self.kept,
            **({"shared": self.shared} if self.shared else {}),
            "failed": len(self.failed),
            "megapixels": round(self.megapixels, 3),
            "seconds": round(self.seconds, 3),
        }


#: In the first lines of every report, by which an older report is recognised.
GENERATOR = "xlsr batch"


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
            return GENERATOR.encode() in file.read(200)
    except OSError:
        return False


def write_report(text: str, path: Path, *, overwrite: bool) -> None:
    """Write a report's ``text`` to ``path``; an older report is replaced."""
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
