"""Valid options, and the errors for impossible ones."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from xlsr_cli.errors import ExitCode, UsageError
from xlsr_cli.options import MAX_SCALE, EngineOptions, PictureOptions, Size, Target

sides = st.integers(min_value=1, max_value=100_000)
sources = st.builds(Size, width=sides, height=sides)
scales = st.floats(min_value=1.0, max_value=MAX_SCALE, exclude_min=True)


def sized(target: Target, source: Size) -> Size:
    """The size, where the wish is possible for this picture; other examples are thrown away."""
    try:
        return target.size_for(source)
    except UsageError:
        assume(False)
        raise


@given(scales, sources)
def test_a_scale_rounds_each_side_to_the_nearest_pixel(scale: float, source: Size) -> None:
    size = sized(Target(scale=scale), source)
    assert abs(size.width - source.width * scale) <= 0.5 + 1e-6
    assert abs(size.height - source.height * scale) <= 0.5 + 1e-6


@given(scales, sources)
def test_a_scale_never_shrinks_and_is_refused_only_by_rounding(scale: float, source: Size) -> None:
    """Every scale that Target accepts is a size for every picture."""
    size = Target(scale=scale).size_for(source)
    assert source.width <= size.width <= MAX_SCALE * source.width
    assert source.height <= size.height <= MAX_SCALE * source.height


@given(st.integers(min_value=2, max_value=16), sources)
def test_a_whole_scale_is_exact(scale: int, source: Size) -> None:
    expected = Size(width=source.width * scale, height=source.height * scale)
    assert Target(scale=scale).size_for(source) == expected


@given(sources)
def test_nothing_asked_for_means_twice(source: Size) -> None:
    assert Target().size_for(source) == Target(scale=2).size_for(source)


@st.composite
def wishes(draw: st.DrawFn) -> tuple[int, int, Size]:
    """A side of a picture, what it shall become, and the picture: within what xlsr enlarges."""
    source = draw(sources)
    side = draw(st.sampled_from([source.width, source.height]))
    return side, draw(st.integers(side + 1, int(MAX_SCALE) * side)), source


@given(wishes())
def test_a_width_is_hit_exactly_and_the_height_follows(wish: tuple[int, int, Size]) -> None:
    side, width, source = wish
    source = Size(width=side, height=source.height)
    size = sized(Target(width=width), source)
    assert size.width == width
    assert abs(size.height - source.height * width / source.width) <= 0.5 + 1e-6


@given(wishes())
def test_a_height_is_hit_exactly_and_the_width_follows(wish: tuple[int, int, Size]) -> None:
    side, height, source = wish
    source = Size(width=source.width, height=side)
    size = sized(Target(height=height), source)
    assert size.height == height
    assert abs(size.width - source.width * height / source.height) <= 0.5 + 1e-6


@given(sources, st.data())
def test_a_long_edge_is_hit_exactly(source: Size, data: st.DataObject) -> None:
    longest = max(source.width, source.height)
    edge = data.draw(st.integers(longest + 1, int(MAX_SCALE) * longest))
    size = sized(Target(long_edge=edge), source)
    assert max(size.width, size.height) == edge


@given(sources, st.data())
def test_a_fit_touches_its_box_and_stays_inside(source: Size, data: st.DataObject) -> None:
    width, height = (
        data.draw(st.integers(side + 1, int(MAX_SCALE) * side)) for side in (source.width, source.height)
    )
    box = Size(width=width, height=height)
    size = sized(Target(fit=box), source)
    assert size.width <= box.width
    assert size.height <= box.height
    assert size.width == box.width or size.height == box.height


def test_both_sides_need_not_keep_the_aspect_ratio() -> None:
    assert Target(width=30, height=50).size_for(Size(width=10, height=10)) == Size(width=30, height=50)


@pytest.mark.parametrize(
    ("wish", "says"),
    [
        ({"scale": 1.0}, "above 1"),
        ({"scale": 0.5}, "above 1"),
        ({"scale": 16.1}, "at most 16"),
        ({"scale": float("nan")}, "above 1"),
        ({"scale": float("inf")}, "at most 16"),
        ({"width": 0}, "width"),
        ({"height": -3}, "height"),
        ({"long_edge": 0}, "long_edge"),
        ({"fit": Size(width=0, height=9)}, "fit"),
        ({"scale": 2.0, "width": 100}, "give one of"),
        ({"width": 100, "long_edge": 100}, "give one of"),
        ({"fit": Size(width=9, height=9), "scale": 3.0}, "give one of"),
    ],
)
def test_an_impossible_target_is_a_usage_error(wish: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        Target(**wish)
    assert caught.value.exit_code is ExitCode.USAGE


@pytest.mark.parametrize(
    "target", [Target(width=99), Target(height=49), Target(long_edge=99), Target(width=200, height=49)]
)
def test_shrinking_is_refused(target: Target) -> None:
    with pytest.raises(UsageError, match="only enlarges"):
        target.size_for(Size(width=100, height=50))


def test_more_than_sixteen_times_is_refused() -> None:
    with pytest.raises(UsageError, match="more than 16 times"):
        Target(width=1601).size_for(Size(width=100, height=50))


@pytest.mark.parametrize(
    ("target", "label"),
    [
        (Target(), "x2"),
        (Target(scale=2.5), "x2.5"),
        (Target(scale=3.0), "x3"),
        (Target(width=1920), "1920w"),
        (Target(height=1080), "1080h"),
        (Target(width=1920, height=1080), "1920x1080"),
        (Target(long_edge=4000), "long4000"),
        (Target(fit=Size(width=800, height=600)), "fit800x600"),
    ],
)
def test_a_target_names_the_default_output(target: Target, label: str) -> None:
    assert target.label == label


@pytest.mark.parametrize(
    ("wish", "says"),
    [
        ({"tile": 7}, "tile"),
        ({"halo": -1}, "halo"),
        ({"threads": 0}, "threads"),
        ({"max_memory": 1000}, "max_memory"),
    ],
)
def test_engine_options_check_themselves(wish: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        EngineOptions(**wish)


@pytest.mark.parametrize(
    ("wish", "says"),
    [
        ({"quality": 0}, "quality"),
        ({"quality": 101}, "quality"),
        ({"quality": 90, "lossless": True}, "exclude each other"),
        ({"max_pixels": 0}, "max_pixels"),
    ],
)
def test_picture_options_check_themselves(wish: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        PictureOptions(**wish)


@pytest.mark.parametrize("options", [Size(width=1, height=1), Target(), EngineOptions(), PictureOptions()])
def test_options_cannot_be_changed_behind_the_edge(options: Any) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(options, dataclasses.fields(options)[0].name, None)
