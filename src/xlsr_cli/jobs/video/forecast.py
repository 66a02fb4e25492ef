"""Forecast the work and the time for a video, from some of its frames. Nothing is written."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import chain, cycle, islice
from pathlib import Path
from typing import Literal, TypeVar

from xlsr_cli.engine.restore import Compression
from xlsr_cli.engine.upscaler import Upscaler
from xlsr_cli.errors import InputError
from xlsr_cli.jobs.video.plan import VideoPlan
from xlsr_cli.jobs.video.run import Prepared, prepare
from xlsr_cli.media.video.output.encoder import Encoder
from xlsr_cli.media.video.pyav import VideoFrame
from xlsr_cli.media.video.reader import FrameReader
from xlsr_cli.notices import Notice
from xlsr_cli.options import PictureOptions, Size, VideoOptions

Result = TypeVar("Result")

#: The most frames that are decoded, and seconds for enlarging them; the first frame is not timed.
_TRIED = 9
_PATIENCE = 2.0
#: Frames that are encoded: the enlarged ones, forwards and backwards. The first ones cost more than others.
_ENCODED = 24


@dataclass(frozen=True, kw_only=True)
class VideoForecast:
    """What :func:`~xlsr_cli.jobs.video.run.upscale_video` would do with a video.

    ``frames`` are those expected, ``models`` the networks that they go through. ``decoder_seconds``,
    ``network_seconds`` and ``encoder_seconds`` are CPU time for each frame, measured on a few; the network's
    holds the planes around it. ``bottleneck`` names the slower one of network and encoder. From them follow
    ``frames_per_second`` and ``seconds`` on ``threads``, where none of the tiles can be reused.
    """

    source: Path
    output: Path
    source_size: Size
    size: Size
    codec: str
    preset: str | None
    pix_fmt: str
    models: tuple[str, ...]
    frames: int
    threads: int
    decoder_seconds: float
    network_seconds: float
    encoder_seconds: float
    frames_per_second: float
    seconds: float
    bottleneck: Literal["network", "encoder"]
    notices: tuple[Notice, ...]
    compression: Compression | None


def forecast_video(
    source: Path, output: Path, options: PictureOptions, video: VideoOptions, *, upscaler: Upscaler
) -> VideoForecast:
    """Plan ``source`` to ``output`` as :func:`~xlsr_cli.jobs.video.run.upscale_video` does, and try it.

    Raises what that raises before it begins, and :class:`InputError` where no frame can be decoded.
    """
    film = prepare(source, output, options, replace(video, reuse=False), upscaler)
    plan, upscaler = film.plan, film.upscaler
    file, settings = plan.file, plan.mux.settings
    decoder, network, encoder = _tried(film)
    rate = upscaler.threads / (decoder + network + encoder)
    channels = 3 if plan.rgb or plan.layout.family == "rgb" else 1
    return VideoForecast(
        source=source,
        output=output,
        source_size=file.size,
        size=plan.size,
        codec=settings.codec.name,
        preset=settings.codec.preset if video.preset is None else video.preset,
        pix_fmt=settings.pix_fmt,
        models=upscaler.model_names(file.size, channels=channels, depth=plan.layout.depth, size=plan.size),
        frames=plan.expected,
        threads=upscaler.threads,
        decoder_seconds=decoder,
        network_seconds=network,
        encoder_seconds=encoder,
        frames_per_second=rate,
        seconds=plan.expected / rate,
        bottleneck="network" if network >= encoder else "encoder",
        notices=plan.notices,
        compression=film.compression,
    )


def _tried(film: Prepared) -> tuple[float, float, float]:
    """CPU seconds per frame for decoding, enlarging and encoding, measured on some frames."""
    plan = film.plan
    reader = FrameReader(
        file=plan.file, begin=plan.begin, end=plan.end, limit=_TRIED, deinterlace=plan.deinterlace
    )
    pictures, decoding = _timed(lambda: [frame.picture for frame in reader])
    if not pictures:
        raise InputError(f"{plan.file.path}: no frame lies in the part that was asked for")
    upscale = film.frame_upscaler()
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
