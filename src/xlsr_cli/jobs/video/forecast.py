"""Forecast the work and the time for a video, from some of its frames. Nothing is written."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import chain, cycle, islice
from pathlib import Path
from typing import Literal, TypeVar

from xlsr_cli.errors import InputError
from xlsr_cli.jobs.results import FramesResult
from xlsr_cli.jobs.task import Task
from xlsr_cli.jobs.video.plan import VideoPlan, plan_video
from xlsr_cli.media.video.output.encoder import Encoder
from xlsr_cli.media.video.pyav import VideoFrame

Result = TypeVar("Result")

#: The most frames that are decoded, and seconds for enlarging them; the first frame is not timed.
_TRIED = 9
_PATIENCE = 2.0
#: Frames that are encoded: the enlarged ones, forwards and backwards. The first ones cost more than others.
_ENCODED = 24


@dataclass(frozen=True, kw_only=True)
class VideoForecast(FramesResult):
    """What :func:`~xlsr_cli.jobs.video.run.upscale_video` would do with a video.

    ``frames`` are those expected, ``models`` the networks that they go through. ``decoder_seconds``,
    ``network_seconds`` and ``encoder_seconds`` are CPU time for each frame, measured on a few; the network's
    holds the planes around it. ``bottleneck`` names the slower one of network and encoder. From them follow
    ``frames_per_second`` and ``seconds`` on ``threads``, where none of the tiles can be reused.
    """

    codec: str
    preset: str | None
    pix_fmt: str
    models: tuple[str, ...]
    threads: int
    decoder_seconds: float
    network_seconds: float
    encoder_seconds: float
    frames_per_second: float
    seconds: float
    bottleneck: Literal["network", "encoder"]


def forecast_video(source: Path, output: Path, task: Task) -> VideoForecast:
    """Plan ``source`` to ``output`` as :func:`~xlsr_cli.jobs.video.run.upscale_video` does, and try it.

    Raises what that raises before it begins, and :class:`InputError` where no frame can be decoded.
    """
    plan = plan_video(source, output, replace(task, video=replace(task.video, reuse=False)))
    settings, preset, threads = plan.mux.settings, task.video.preset, plan.task.upscaler.threads
    decoder, network, encoder = _tried(plan)
    rate = threads / (decoder + network + encoder)
    return VideoForecast(
        source=str(source),
        output=output,
        source_size=plan.file.size,
        size=plan.size,
        codec=settings.codec.name,
        preset=settings.codec.preset if preset is None else preset,
        pix_fmt=settings.pix_fmt,
        models=plan.models,
        frames=plan.expected,
        threads=threads,
        decoder_seconds=decoder,
        network_seconds=network,
        encoder_seconds=encoder,
        frames_per_second=rate,
        seconds=plan.expected / rate,
        bottleneck="network" if network >= encoder else "encoder",
        notices=plan.notices,
        compression=plan.compression,
    )


def _tried(plan: VideoPlan) -> tuple[float, float, float]:
    """CPU seconds per frame for decoding, enlarging and encoding, measured on some frames."""
    pictures, decoding = _timed(lambda: [frame.picture for frame in plan.reader(limit=_TRIED)])
    if not pictures:
        raise InputError(f"{plan.file.path}: no frame lies in the part that was asked for")
    upscale = plan.frame_upscaler()
    enlarged = [upscale.begin(pictures[0])()]
    until, enlarging = time.monotonic() + _PATIENCE, []
    for picture in pictures[1:] or pictures:
        frame, seconds = _timed(upscale.begin(picture))
        enlarged.append(frame)
        enlarging.append(seconds)
        if time.monotonic() > until:
            break
    _, encoding = _timed(lambda: _encode(plan, enlarged))
    # The median, since another runtime may have been started in between.
    return decoding / len(pictures), statistics.median(enlarging), encoding / _ENCODED


def _encode(plan: VideoPlan, frames: list[VideoFrame]) -> None:
    encoder = Encoder(plan.mux.settings)
    for frame in islice(cycle(chain(frames, reversed(frames))), _ENCODED):
        encoder.encode(frame)
    encoder.finish()


def _timed(work: Callable[[], Result]) -> tuple[Result, float]:
    """The result of ``work`` and the CPU time that it took, on all threads of the process."""
    began = time.process_time()
    return work(), time.process_time() - began
