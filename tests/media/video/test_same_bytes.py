"""The same frames become the same bytes, whatever memory held: resuming and ``--no-reuse`` rest on it."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from tests.jobs.video.films import FIXTURES, run
from tests.media.video import clips
from xlsr_cli.engine.upscaler import Upscaler
from xlsr_cli.media.video.output.containers import CONTAINERS
from xlsr_cli.media.video.output.encoder import CODECS, Encoder, Settings
from xlsr_cli.media.video.tags import ColorTags, Hdr
from xlsr_cli.options import Size, VideoCodec

#: ``M_PERTURB`` of glibc: what memory is filled with before a program gets it.
_M_PERTURB = -6
_FILLINGS = (0x01, 0x55, 0xAA, 0xFF)
#: Every remainder that a width can leave to the 256 bytes of four AVX-512 registers.
_WIDTHS = range(256, 512)


@pytest.fixture
def dirty_memory() -> Iterator[Any]:
    """A function that says what all new memory holds; without glibc, it leaves noise in freed memory."""
    perturb = getattr(ctypes.CDLL(None), "mallopt", None)

    def fill(byte: int) -> None:
        noise = np.random.default_rng(byte)
        [noise.bytes(size) for size in noise.integers(1000, 400_000, 10)].clear()
        if perturb is not None:
            perturb(_M_PERTURB, byte)

    yield fill
    if perturb is not None:
        perturb(_M_PERTURB, 0)


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv444p"])
@pytest.mark.parametrize("codec", ["h264", "hevc"])
@pytest.mark.parametrize("width", [96, 320, 448, 576])
def test_whatever_memory_held(dirty_memory: Any, codec: VideoCodec, pix_fmt: str, width: int) -> None:
    assert len(_encoded(dirty_memory, codec, pix_fmt, Size(width=width, height=90), frames=12)) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("codec", "pix_fmt"),
    [
        ("h264", "yuv420p"),
        ("h264", "yuv420p10le"),
        ("h264", "yuv444p"),
        ("hevc", "yuv420p"),
        ("av1", "yuv420p"),
        ("vp9", "yuv420p"),
        ("ffv1", "yuv420p"),
    ],
)
def test_at_every_width(dirty_memory: Any, codec: VideoCodec, pix_fmt: str) -> None:
    step = 1 if pix_fmt == "yuv444p" else 2
    different = [
        width
        for width in _WIDTHS[::step]
        if len(_encoded(dirty_memory, codec, pix_fmt, Size(width=width, height=48), frames=12)) > 1
    ]
    assert not different


def _encoded(dirty: Any, codec: VideoCodec, pix_fmt: str, size: Size, *, frames: int) -> set[bytes]:
    """What the same frames become with different things in memory."""
    found = set()
    for byte in _FILLINGS if codec == "h264" else _FILLINGS[:2]:
        dirty(byte)
        encoder = Encoder(_settings(codec, pix_fmt, size))
        packets = []
        for picture in _fading(frames, size, pix_fmt):
            packets += encoder.encode(picture)
        found.add(b"".join(packet.data for packet in [*packets, *encoder.finish()]))
    return found


def _fading(frames: int, size: Size, pix_fmt: str) -> Iterator[av.VideoFrame]:
    """Clouds that move and grow darker, so that encoders look for weights between frames."""
    noise = np.random.default_rng(5).integers(0, 256, (size.height + frames, size.width + 2 * frames))
    clouds = cv2.GaussianBlur(noise.astype(np.float32), (0, 0), 3)
    clouds = cv2.normalize(clouds, None, 20, 230, cv2.NORM_MINMAX)
    for number in range(frames):
        picture = av.VideoFrame(size.width, size.height, pix_fmt)
        deep = "10" in pix_fmt
        for plane in picture.planes:
            samples = np.frombuffer(plane, np.uint16 if deep else np.uint8).reshape(plane.height, -1)
            samples[...] = 0
            shown = clouds[number : number + plane.height, 2 * number : 2 * number + plane.width]
            samples[:, : plane.width] = shown * (1 - number / (1.2 * frames)) * (4 if deep else 1)
        yield picture


def _settings(codec: VideoCodec, pix_fmt: str, size: Size) -> Settings:
    return Settings(
        codec=CODECS[codec],
        encoder=CODECS[codec].encoder,
        crf=CODECS[codec].crf,
        preset=CODECS[codec].preset,
        pix_fmt=pix_fmt,
        size=size,
        rate=Fraction(25),
        aspect=None,
        tags=ColorTags(),
        siting="left",
        hdr=Hdr(),
        threads=1,
        global_header=True,
        constant=False,
        key_interval=240,
    )


def test_any_two_runs_give_the_same_file(tmp_path: Path, dirty_memory: Any) -> None:
    found = set()
    for byte in _FILLINGS:
        dirty_memory(byte)
        with Upscaler(threads=2) as upscaler:
            result = run(FIXTURES / "long_320.mp4", tmp_path / f"{byte}.mp4", upscaler, frames=40)
        found.add(result.output.read_bytes())
    assert len(found) == 1


@pytest.mark.parametrize("suffix", CONTAINERS)
def test_two_runs_write_the_same_file(suffix: str, tmp_path: Path) -> None:
    """No random identifiers, no clock; the second film goes through FFmpeg's tee muxer into Matroska."""
    rich = clips.make(
        tmp_path / "a.mkv",
        frames=3,
        audio=[{"language": "fra"}, {"codec": "flac"}],
        subtitles=[{}],
        attachments=[("a.ttf", "font/ttf", b"font")],
        chapters=[(0, 100, "one")],
        aspect=Fraction(4, 3),
    )
    for source in (rich, FIXTURES / "wma.wmv"):
        results = [tmp_path / f"{source.stem}{number}{suffix}" for number in range(2)]
        for result in results:
            run(source, result, Upscaler(threads=1), end=0.12)
        assert results[0].read_bytes() == results[1].read_bytes()
