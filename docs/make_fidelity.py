"""Write the parts of ``docs/fidelity.md`` that stand in the table of formats, ``xlsr_cli/formats.py``.

Run ``python docs/make_fidelity.py`` after changing a row; a test compares the page with the code.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from xlsr_cli.formats import FORMATS, Format, FormatCapabilities

PAGE = Path(__file__).parent / "fidelity.md"

#: A column of the table of capabilities, and the notice where the format cannot hold it.
Column = Callable[[FormatCapabilities], str | None]


def _keeps(kind: str) -> Column:
    return lambda capabilities: None if kind in capabilities.keeps else f"{kind}-dropped"


def _gray_alpha(capabilities: FormatCapabilities) -> str | None:
    if capabilities.gray_alpha:
        return None
    return "gray-expanded" if capabilities.alpha else "alpha-dropped"


COLUMNS: dict[str, Column] = {
    "ICC": _keeps("icc"),
    "EXIF": _keeps("exif"),
    "XMP": _keeps("xmp"),
    "DPI": _keeps("dpi"),
    "alpha": lambda capabilities: None if capabilities.alpha else "alpha-dropped",
    "16-bit": lambda capabilities: None if capabilities.bits == 16 else "depth-reduced",
    "gray": lambda capabilities: None if capabilities.gray else "gray-expanded",
    "gray + alpha": _gray_alpha,
    "IPTC": _keeps("iptc"),
    "comments": lambda capabilities: None if capabilities.text else "text-dropped",
    "CICP": _keeps("cicp"),
}


def capabilities() -> str:
    """What of a picture each format keeps."""
    rows = [["output", *COLUMNS], ["---"] * (1 + len(COLUMNS))]
    for format in FORMATS:
        if (capabilities := format.still) is not None:
            notices = [column(capabilities) for column in COLUMNS.values()]
            rows.append([_label(format), *("kept" if code is None else f"`{code}`" for code in notices)])
    return _table(rows)


def limits() -> str:
    """How large a picture each format holds, and whether it is lossless."""
    rows = [["format", "longest side, pixels", "pixels altogether", "lossless"], ["---"] * 4]
    words = {"always": "always", "optional": "with `--lossless`", "never": "never"}
    for format in FORMATS:
        if (capabilities := format.still) is not None:
            most = "" if capabilities.most_pixels is None else f"{capabilities.most_pixels:,}"
            rows.append(
                [_label(format), f"{capabilities.longest_side:,}", most, words[capabilities.lossless]]
            )
    return _table(rows)


def reading() -> str:
    """What can be read, and what is refused."""
    written = [_label(format) for format in FORMATS if format.still is not None]
    read = [
        _label(format) + (f" (`pip install 'xlsr-cli[{format.extra}]'`)" if format.extra else "")
        for format in FORMATS
        if format.still is None and not format.refused
    ]
    refused = [f"- `{format.name}`: {format.refused}" for format in FORMATS if format.refused]
    return "\n".join(
        [
            f"Read and written: {', '.join(written)}.\n",
            f"Read, and written as PNG unless told otherwise: {', '.join(read)}.\n",
            "Refused with a sentence and exit code 3:\n",
            *refused,
        ]
    )


def render(page: str) -> str:
    """The page with its made parts made again."""
    for made in (capabilities, limits, reading):
        begin, end = f"<!-- made: {made.__name__} -->\n", "\n<!-- end -->"
        pattern = re.escape(begin) + ".*?" + re.escape(end)
        text = f"{begin}\n{made()}\n{end}"
        page, count = re.subn(pattern, lambda match, text=text: text, page, count=1, flags=re.DOTALL)  # type: ignore[misc]
        assert count == 1, f"no place for {made.__name__} in {PAGE.name}"
    return page


def _label(format: Format) -> str:
    return format.title or (format.shown if format.shown.lower() == format.name else format.name.upper())


def _table(rows: list[list[str]]) -> str:
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


if __name__ == "__main__":
    PAGE.write_text(render(PAGE.read_text("utf-8")), "utf-8")
