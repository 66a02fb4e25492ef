"""The page about restoring says the limits that the code has."""

from __future__ import annotations

from pathlib import Path

import pytest

from xlsr_cli.engine import restore
from xlsr_cli.engine.restore import FILM_QUANTIZERS, Limits, Quantizers
from xlsr_cli.media.compression import avif, webp

PAGE = Path(__file__).resolve().parents[2] / "docs" / "restore.md"
SOURCES = {
    "JPEG": restore._JPEG_FILES,
    "JPEG by its pixels, in TIFF and Motion JPEG": restore._JPEG_ALONE,
    "WebP": webp._LIMITS,
    "AVIF": avif._LIMITS,
    "H.264": FILM_QUANTIZERS["h264"],
    "HEVC": FILM_QUANTIZERS["hevc"],
    "VP8": FILM_QUANTIZERS["vp8"],
    "VP9": FILM_QUANTIZERS["vp9"],
    "AV1": FILM_QUANTIZERS["av1"],
    "MPEG-1 to MPEG-4, H.263, WMV 7 and 8": FILM_QUANTIZERS["mpeg4"],
}


def row(name: str) -> str:
    """The line of a source."""

    def cell(limits: Limits) -> str:
        bits = f" ({limits.doubling:g})" if limits.doubling else ""
        return f"{limits.light_from:g}, {limits.strong_from:g}{bits}"

    return f"| {name} | {' | '.join(cell(SOURCES[name].limits[scale]) for scale in (2, 3, 4))} |"


def test_the_table_has_a_line_for_each_source() -> None:
    table = PAGE.read_text("utf-8").split("<!-- limits -->")[1].split("<!-- /limits -->")[0]
    assert table.strip().splitlines()[2:] == [row(name) for name in SOURCES]


@pytest.mark.parametrize("known", FILM_QUANTIZERS.values(), ids=FILM_QUANTIZERS)
def test_every_codec_has_the_limits_of_a_line(known: Quantizers) -> None:
    assert known.limits in [source.limits for source in SOURCES.values()]
    assert all(limits.light_from < limits.strong_from for limits in known.limits.values())
