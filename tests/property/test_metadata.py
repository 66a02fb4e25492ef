"""Whatever a file may carry beside its pixels: every format writes it, or a notice says what it left out."""

from __future__ import annotations

import io
import struct
from fractions import Fraction
from itertools import accumulate
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from xlsr_cli.formats import FORMATS, PICTURE_FORMATS
from xlsr_cli.media.picture.animation import capabilities_of, open_animation, write_animation
from xlsr_cli.media.picture.exif import ExifBlock, exif_with_dpi
from xlsr_cli.media.picture.fitting import fit_metadata, fit_times
from xlsr_cli.media.picture.metadata import Metadata
from xlsr_cli.media.picture.source import Film, Picture
from xlsr_cli.media.picture.steps.encoding import encode
from xlsr_cli.media.picture.steps.opening import open_picture
from xlsr_cli.options import Size

GRAY = np.arange(40 * 48, dtype=np.uint8).reshape(40, 48)
COLOR = np.dstack([GRAY, GRAY.T.reshape(40, 48), 255 - GRAY])

#: Shrinking what is 17 MB long takes minutes.
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)

#: Lengths around what a JPEG's segment holds, beside short ones.
LONG = st.sampled_from([65_470, 65_500, 65_534, 65_600, 70_001]).map(lambda length: b"<x/>" * (length // 4))
CONTENT = st.one_of(st.binary(min_size=1, max_size=60), LONG)
NUMBERS = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True),
    st.sampled_from([0.0, -72.0, 1e-9, 0.5, 1.0, 72.0, 299.9994, 65_535.0, 65_536.0, 254_000.0, 4e9, 1e300]),
)
EXIF = st.one_of(
    CONTENT,
    st.floats(1, 60_000).map(lambda dpi: exif_with_dpi((dpi, dpi))),
    # One field, "Artist", in either order of bytes, and none for a resolution.
    st.sampled_from(["<", ">"]).map(
        lambda order: (
            (b"II*\0" if order == "<" else b"MM\0*")
            + struct.pack(f"{order}IHHHI4sI", 8, 1, 0x013B, 2, 4, b"Ann\0", 0)
        )
    ),
    st.binary(max_size=40).map(lambda rest: b"II*\0" + rest),
)
METADATA = st.builds(
    Metadata,
    icc=st.none() | st.binary(min_size=128, max_size=300) | LONG | st.just(b"i" * 17_000_000),
    cicp=st.none() | st.tuples(*[st.integers(0, 0xFFFF)] * 3, st.integers(0, 1)),
    exif=st.none() | EXIF,
    xmp=st.none() | CONTENT.map(lambda packet: packet.rstrip(b"\0")).filter(bool),
    iptc=st.none() | CONTENT.map(lambda records: b"\x1c\x02\x78\0\x20" + records),
    dpi=st.none() | st.tuples(NUMBERS, NUMBERS),
    color_chunks=st.dictionaries(
        st.sampled_from([b"gAMA", b"cHRM", b"sRGB", b"mDCV", b"cLLI"]), st.binary(max_size=32)
    ).map(lambda chunks: tuple(chunks.items())),
    text=st.sampled_from([b"tEXt", b"COM", b"GIF"]).flatmap(
        lambda name: st.lists(st.tuples(st.just(name), CONTENT), max_size=3).map(tuple)
    ),
)


def assert_told(before: Metadata, codes: set[str], data: bytes) -> None:
    """Each part of ``before`` is in the file ``data``, or one of ``codes`` says that it is not."""
    after = open_picture(data, "what was written").metadata
    for part in ("icc", "xmp", "iptc"):
        told = f"{part}-dropped" in codes
        assert getattr(after, part) == (None if told else getattr(before, part)), part
    if before.exif is not None and "exif-dropped" not in codes:
        had = {field.tag: field.value for field in ExifBlock(before.exif).fields() if field.tag == 0x013B}
        has = {field.tag: field.value for field in ExifBlock(after.exif or b"").fields()}
        assert had.items() <= has.items()
    if before.dpi is not None and "dpi-dropped" not in codes:
        assert after.dpi is not None
        assert after.dpi == pytest.approx(before.dpi, abs=0.6, rel=2e-3)
    if before.cicp is not None and after.cicp is None:
        assert "cicp-dropped" in codes or before.icc is not None or before.cicp[0] in (1, 2)
    if before.text and "text-dropped" not in codes:
        assert after.text == before.text


@settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck), phases=PHASES)
@given(METADATA, st.booleans())
@pytest.mark.parametrize("format", PICTURE_FORMATS)
def test_every_format_writes_any_metadata(format: str, metadata: Metadata, gray: bool) -> None:
    picture = Picture(pixels=GRAY if gray else COLOR, metadata=metadata, format=format)
    data, notices = encode(picture, format)
    assert_told(metadata, {notice.code for notice in notices}, data)


DELAYS = st.one_of(
    st.fractions(0, 100_000),
    st.sampled_from([0, 655, 656, 65_535, 65_536, 20_000, 64_800, 2_147_483, 4_294_967_296]).map(Fraction),
    st.integers(0, 0xFFFF).map(lambda ticks: Fraction(ticks, 100)),
)
PLAYS = st.one_of(
    st.integers(0, 3), st.sampled_from([65_535, 65_536, 65_537, 100_000, 0x7FFFFFFF, 0xFFFFFFFF])
)


@settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck), phases=PHASES)
@given(METADATA, st.lists(DELAYS, min_size=2, max_size=4), PLAYS)
@pytest.mark.parametrize("format", [f.name for f in FORMATS if f.animation is not None])
def test_every_animation_takes_any_metadata_and_times(
    format: str, metadata: Metadata, delays: list[Fraction], plays: int
) -> None:
    capabilities = capabilities_of(format)
    fitting, notices = fit_metadata(metadata, capabilities, in_color=True)
    times, counted, changed = fit_times(delays, plays, capabilities)
    codes = {notice.code for notice in [*notices, *changed]}
    frames = [np.full((3, 4, 3), 40 * number, np.uint8) for number in range(len(delays))]
    film = Film(size=Size(width=4, height=3), delays=times, plays=counted, metadata=fitting)
    file = io.BytesIO()
    write_animation(file, format, film, iter(frames), lossless=True)
    data = file.getvalue()
    assert_told(metadata, codes, data)
    found = open_animation(open_picture(data, "it"), max_pixels=100)
    assert found.plays == plays or "plays-reduced" in codes
    assert_times(
        delays, found.delays, codes, tick=Fraction(1, capabilities.ticks) if capabilities.ticks else None
    )


def assert_times(delays: list[Fraction], found: Any, codes: set[str], tick: Fraction | None) -> None:
    """Delays are as they were, rounded as a notice says, or cut to the longest as a notice says."""
    if not codes & {"delays-rounded", "delays-shortened"}:
        assert list(found) == delays
    elif "delays-shortened" not in codes and tick is not None:
        pairs = zip(accumulate(delays), accumulate(found), strict=True)
        assert all(abs(before - after) <= tick / 2 for before, after in pairs)
    else:
        assert all(
            after <= before * Fraction(1001, 1000) + 1 for before, after in zip(delays, found, strict=True)
        )
