"""Tables for people, as text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from xlsr_cli.cli.printable import printable

#: Wide enough for every table here; a narrower terminal wraps lines, nothing is cut.
_WIDTH = 120


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, left: int = 1) -> str:
    """``rows`` under ``head``, the first ``left`` columns aligned to the left and the others to the right."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for place, title in enumerate(head):
        made.add_column(title, justify="left" if place < left else "right", no_wrap=True)
    for row in rows:
        made.add_row(*(Text(printable(cell)) for cell in row))
    console = Console(width=_WIDTH, color_system=None)
    with console.capture() as captured:
        console.print(made)
    return "\n".join(line.rstrip() for line in captured.get().splitlines())
