"""Which networks run, without running them; and the threads that run their tiles."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from xlsr_cli.engine import choice as choice_module
from xlsr_cli.engine import models
from xlsr_cli.engine.choice import Choice, Plane
from xlsr_cli.engine.models import bundled_model, bundled_models
from xlsr_cli.engine.session import Session
from xlsr_cli.engine.tiles.workers import Workers
from xlsr_cli.errors import ModelError, UsageError
from xlsr_cli.options import EngineOptions, Size

SMALL, LARGE = Size(width=50, height=40), Size(width=250, height=200)


def names(choice: Choice, colour: Any, dtype: type) -> list[str]:
    return [session.spec.name for session in choice.sessions(SMALL, LARGE, Plane(colour), np.dtype(dtype))]


@pytest.mark.parametrize(
    ("options", "colour", "dtype", "expected"),
    [
        ({}, "rgb", np.uint8, ["xlsr_x2_rgb_int8", "xlsr_x3_rgb_int8"]),
        ({}, "luma", np.uint16, ["xlsr_x2_luma_fp32", "xlsr_x3_luma_fp32"]),
        ({"precision": "fp32"}, "rgb", np.uint8, ["xlsr_x2_rgb_fp32", "xlsr_x3_rgb_fp32"]),
        ({"model": "xlsr_x3_rgb_int8"}, "rgb", np.uint8, ["xlsr_x3_rgb_int8"] * 2),
        ({"model": "xlsr_x3_rgb_int8"}, "luma", np.uint8, ["xlsr_x3_luma_int8"] * 2),
    ],
)
def test_the_networks_follow_options_colour_and_depth(
    options: dict[str, Any], colour: str, dtype: type, expected: list[str]
) -> None:
    assert names(Choice(EngineOptions(**options), threads=1), colour, dtype) == expected


def test_eight_bits_are_refused_for_a_deeper_picture() -> None:
    with pytest.raises(UsageError, match="16-bit"):
        names(Choice(EngineOptions(precision="int8"), threads=1), "rgb", np.uint16)
    with pytest.raises(ModelError, match="use xlsr_x3_rgb_fp32"):
        names(Choice(EngineOptions(model="xlsr_x3_rgb_int8"), threads=1), "rgb", np.uint16)


@pytest.mark.parametrize(
    ("options", "channels", "planes"),
    [
        ({}, 1, ["luma"]),
        ({}, 2, ["luma", "luma"]),
        ({}, 3, ["rgb"]),
        ({}, 4, ["rgb", "luma"]),
        ({"color": "ycbcr"}, 4, ["luma", "luma"]),
        ({"model": "xlsr_x2_luma_int8"}, 3, ["luma"]),
    ],
)
def test_each_plane_has_its_kind_of_network(
    options: dict[str, Any], channels: int, planes: list[str]
) -> None:
    found = Choice(EngineOptions(**options), threads=1).planes(channels)
    assert [plane.colour for plane in found] == planes
    assert [plane.alpha for plane in found] == [False, True][: len(planes)]


@pytest.fixture
def light_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside the networks for clean sources, the same ones under other names for light compression."""
    clean = [spec for spec in bundled_models() if spec.restore == "off"]
    light = [replace(spec, name=f"light_{spec.name}", restore="light") for spec in clean]
    for module in (models, choice_module):
        monkeypatch.setattr(module, "bundled_models", lambda *words: (*clean, *light))


@pytest.mark.usefixtures("light_ones")
@pytest.mark.parametrize(
    ("options", "level", "expected"),
    [
        ({}, "light", ["light_xlsr_x2_rgb_int8", "xlsr_x3_rgb_int8"]),
        ({}, "off", ["xlsr_x2_rgb_int8", "xlsr_x3_rgb_int8"]),
        ({}, "drawing", ["xlsr_x2_rgb_int8", "xlsr_x3_rgb_int8"]),
        ({"precision": "fp32"}, "light", ["light_xlsr_x2_rgb_fp32", "xlsr_x3_rgb_fp32"]),
    ],
)
def test_only_the_first_network_restores(options: dict[str, Any], level: Any, expected: list[str]) -> None:
    choice = Choice(EngineOptions(**options), threads=1)
    assert choice.depends_on_source
    assert names(choice.restoring(level), "rgb", np.uint8) == expected
    told = Choice(EngineOptions(**options, restore=level), threads=1)
    assert not told.depends_on_source
    assert names(told, "rgb", np.uint8) == expected


@pytest.mark.usefixtures("light_ones")
def test_alpha_is_never_restored_and_a_named_model_comes_first() -> None:
    choice = Choice(EngineOptions(restore="light"), threads=1)
    alpha = choice.sessions(SMALL, LARGE, Plane("luma", alpha=True), np.dtype(np.uint8))
    assert alpha[0].spec.name == "xlsr_x2_luma_int8"
    assert names(choice, "luma", np.uint8)[0] == "light_xlsr_x2_luma_int8"
    named = Choice(EngineOptions(model="xlsr_x2_rgb_int8"), threads=1)
    assert not named.depends_on_source


def test_what_is_loaded_is_shared_between_levels() -> None:
    choice = Choice(EngineOptions(), threads=1)
    names(choice.restoring("off"), "rgb", np.uint8)
    assert [session.spec.name for session in choice.loaded] == ["xlsr_x2_rgb_int8", "xlsr_x3_rgb_int8"]


def test_a_network_is_loaded_once_and_only_when_needed() -> None:
    choice = Choice(EngineOptions(), threads=1)
    assert choice.loaded == []
    first = choice.sessions(SMALL, LARGE, Plane("rgb"), np.dtype(np.uint8))
    assert choice.sessions(SMALL, LARGE, Plane("rgb"), np.dtype(np.uint8)) == first == choice.loaded
    choice.forget()
    assert choice.loaded == []


def test_a_network_that_is_given_runs() -> None:
    session = Session.bundled(bundled_model(2, "luma", "int8"))
    choice = Choice(EngineOptions(), threads=1)
    choice.use(session)
    assert choice.splits_luma
    assert choice.sessions(SMALL, LARGE, Plane("luma"), np.dtype(np.uint8)) == [session] * 3


@pytest.mark.parametrize(("count", "here", "same"), [(1, True, True), (2, True, False), (1, False, False)])
def test_one_worker_works_in_the_calling_thread(count: int, here: bool, same: bool) -> None:
    threads: list[threading.Thread] = []
    done: list[int] = []
    workers = Workers(count)
    workers.each(lambda _: threads.append(threading.current_thread()), [3, 1, 2], done.append, here=here)
    workers.stop()
    assert done == [3, 1, 2]
    assert all((thread is threading.current_thread()) is same for thread in threads)


def test_the_first_error_of_a_part_is_raised() -> None:
    def fail(part: int) -> None:
        raise ModelError(f"part {part}")

    workers = Workers(2)
    with pytest.raises(ModelError, match="part 1"):
        workers.each(fail, [1, 2, 3])
    workers.stop()
