"""How strongly films were compressed: one answer, by quantizers where there are any."""

from __future__ import annotations

import contextlib
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from typer.testing import CliRunner

from tests.jobs.video.films import FIXTURES
from tests.photographs import photograph
from xlsr_cli.cli.app import app
from xlsr_cli.engine.restore import FILM_QUANTIZERS, Compression, by_quantizer
from xlsr_cli.errors import InputError
from xlsr_cli.media.compression import film as films
from xlsr_cli.media.compression.film import _Sizes
from xlsr_cli.media.video.pyav import usual_scheduling

SIDE = 96


def compression_of(path: Path) -> Compression:
    return films.compression_of(path, 2)


@usual_scheduling()
def film(
    path: Path, encoder: str, options: dict[str, str], pix_fmt: str = "yuv420p", frames: int = 30
) -> Path:
    """A picture that moves."""
    picture = photograph(0, SIDE + 40, SIDE + 40)
    with av.open(str(path), "w") as output:
        stream = output.add_stream(encoder, rate=25)
        stream.width = stream.height = SIDE
        stream.pix_fmt, stream.options = pix_fmt, options
        for number in range(frames):
            at = number % 40
            shown = np.ascontiguousarray(picture[at : at + SIDE, at : at + SIDE, ::-1])
            frame = av.VideoFrame.from_ndarray(shown, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            output.mux(stream.encode(frame))
        output.mux(stream.encode())
    return path


CODECS = [
    ("libx264", ".mp4", "H.264", {"crf": "14"}, {"crf": "40"}),
    ("libx264", ".ts", "H.264", {"crf": "14"}, {"crf": "40"}),
    ("libx265", ".mkv", "HEVC", {"crf": "12", "x265-params": "log-level=none"},
     {"crf": "42", "x265-params": "log-level=none"}),
    ("libvpx-vp9", ".webm", "VP9", {"crf": "10", "b": "0", "cpu-used": "8", "deadline": "realtime"},
     {"crf": "60", "b": "0", "cpu-used": "8", "deadline": "realtime"}),
    ("libvpx", ".webm", "VP8", {"qmin": "0", "qmax": "2", "b": "9M", "cpu-used": "8", "deadline": "realtime"},
     {"qmin": "58", "qmax": "63", "b": "20k", "cpu-used": "8", "deadline": "realtime"}),
    ("libsvtav1", ".mp4", "AV1", {"crf": "12", "preset": "12"}, {"crf": "60", "preset": "12"}),
    ("mpeg4", ".avi", "MPEG-4", {"qmin": "2", "qmax": "2"},
     {"qmin": "20", "qmax": "20"}),
    ("mpeg2video", ".mpg", "MPEG-2", {"qmin": "2", "qmax": "2"},
     {"qmin": "20", "qmax": "20"}),
    ("mpeg1video", ".mpg", "MPEG-1", {"qmin": "2", "qmax": "2"},
     {"qmin": "20", "qmax": "20"}),
    ("mjpeg", ".avi", "Motion JPEG", {"qmin": "2", "qmax": "2"},
     {"qmin": "20", "qmax": "20"}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("encoder", "suffix", "name", "better", "worse"),
    CODECS,
    ids=[codec[0] + codec[1] for codec in CODECS],
)
def test_worse_films_of_every_codec_need_a_stronger_network(
    tmp_path: Path, encoder: str, suffix: str, name: str, better: dict[str, str], worse: dict[str, str]
) -> None:
    order = ["off", "light", "strong"]
    pix_fmt = "yuvj420p" if encoder == "mjpeg" else "yuv420p"
    good = compression_of(film(tmp_path / f"good{suffix}", encoder, better, pix_fmt))
    bad = compression_of(film(tmp_path / f"bad{suffix}", encoder, worse, pix_fmt))
    assert good.codec == bad.codec == name
    assert good.measure == bad.measure
    assert good.measure == ("quality" if encoder == "mjpeg" else "quantizer")
    assert order.index(good.level) < order.index(bad.level)
    assert bad.level == "strong"


def test_lossless_films_are_clean(tmp_path: Path) -> None:
    found = compression_of(film(tmp_path / "film.mkv", "ffv1", {}))
    assert (found.level, str(found)) == ("off", "ffv1: off")


def test_codecs_without_quantizers_are_judged_by_their_bits(tmp_path: Path) -> None:
    found = compression_of(film(tmp_path / "film.mov", "prores_ks", {"profile": "3"}, "yuv422p10le"))
    assert found.measure == "bits"
    assert found.codec == "ProRes"
    assert found.level == "off"


def with_deep_tables(jpeg: bytes) -> bytes:
    """``jpeg`` with steps of 16 bits, 320, which its coefficients never had."""
    at = jpeg.index(b"\xff\xdb")
    length = int.from_bytes(jpeg[at + 2 : at + 4], "big")
    tables = b"".join(bytes([0x10 | number]) + b"\x01\x40" * 64 for number in range(2))
    return jpeg[:at] + b"\xff\xdb" + (2 + len(tables)).to_bytes(2, "big") + tables + jpeg[at + 2 + length :]


def test_a_film_that_lies_is_judged_by_its_pixels(tmp_path: Path) -> None:
    honest = film(tmp_path / "honest.avi", "mjpeg", {"qmin": "2", "qmax": "2"}, "yuvj420p", frames=12)
    path = tmp_path / "lies.mkv"
    with av.open(str(honest)) as source, av.open(str(path), "w") as output:
        stream = output.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                copy = av.Packet(with_deep_tables(bytes(packet)))
                copy.pts, copy.dts, copy.time_base = packet.pts, packet.pts, packet.time_base
                copy.stream = stream
                output.mux(copy)
    found = compression_of(path)
    assert (found.seen, found.note) == ("pixels", "the quantizers of the Motion JPEG stream make no sense")
    assert found.level in ("off", "light", "strong", "drawing")
    done = CliRunner().invoke(app, ["upscale", str(path), "--dry-run", "--verbose"])
    assert done.exit_code == 0, done.output
    assert "quantizers of the Motion JPEG stream make no sense" in done.output


@pytest.mark.parametrize(
    ("numbers", "seen"), [([900, -40, 77], "pixels"), ([20, 22, 900], "file"), ([20], "file")]
)
def test_a_few_absurd_quantizers_are_damage(
    numbers: list[int], seen: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = film(tmp_path / "film.mp4", "libx264", {"crf": "20"}, frames=6)
    monkeypatch.setattr("xlsr_cli.media.compression.headers.quantizers", lambda *_: numbers)
    assert compression_of(path).seen == seen


@pytest.mark.parametrize(("codec", "quantizer"), [("h264", 28), ("hevc", 36), ("vp9", 140), ("av1", 145)])
def test_the_same_quantizer_harms_a_smooth_film_more(codec: str, quantizer: int) -> None:
    levels = [by_quantizer(FILM_QUANTIZERS[codec], 2, quantizer, bits) for bits in (0.3, 4)]
    assert [found and found.level for found in levels] == ["strong", "light"]


def test_movement_has_no_say(tmp_path: Path) -> None:
    """Frames that hardly change take hardly any bits, though their detail is the same."""
    still = film(tmp_path / "still.mp4", "libx264", {"crf": "22"}, frames=2)
    with av.open(str(still)) as container:
        context = container.streams.video[0].codec_context
        pixels = context.width * context.height
        sizes = _Sizes()
        packets = list(sizes.noting(packet for packet in container.demux(video=0) if packet.size))
    assert len(packets) == 2
    assert sizes.of_key_frames(pixels) == 8 * sizes.key[0] / pixels
    assert sizes.of_key_frames(pixels) > 8 * sum(sizes.all) / 2 / pixels
    assert _Sizes().of_key_frames(pixels) == 1


def test_the_answer_is_the_same_again(tmp_path: Path) -> None:
    path = film(tmp_path / "film.mp4", "libx264", {"crf": "28"})
    assert compression_of(path) == compression_of(path)


def test_a_damaged_film_is_judged_by_what_is_left(tmp_path: Path) -> None:
    whole = film(tmp_path / "film.ts", "libx264", {"crf": "28"}).read_bytes()
    random = np.random.default_rng(0)
    for number in range(10):
        damaged = np.frombuffer(whole, np.uint8).copy()
        places = random.integers(0, len(damaged), 30)
        damaged[places] = random.integers(0, 256, 30)
        path = tmp_path / f"damaged{number}.ts"
        path.write_bytes(damaged.tobytes())
        assert compression_of(path).level in ("off", "light", "strong")


@pytest.mark.parametrize("name", sorted(path.name for path in FIXTURES.iterdir()))
def test_bytes_too_many_in_a_film_are_no_other_error(name: str, tmp_path: Path) -> None:
    """Seeking by an index that no longer fits leads before the beginning and behind the end of the file."""
    whole = (FIXTURES / name).read_bytes()
    for tenths in range(10):
        at = len(whole) * tenths // 10
        (tmp_path / name).write_bytes(whole[:at] + whole[at : at + 7] + whole[at:])
        with contextlib.suppress(InputError):
            compression_of(tmp_path / name)
