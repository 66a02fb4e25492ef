"""Animations in and out: frames, delays, loops, alpha, metadata, damage, memory."""

from __future__ import annotations

import contextlib
import io
import itertools
import tracemalloc
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from xlsr_cli.engine.upscaler import Upscaler
from xlsr_cli.errors import InputError, NotKeptError, OutputError, UsageError
from xlsr_cli.jobs.animation import AnimationResult, upscale_animation
from xlsr_cli.jobs.picture import open_file
from xlsr_cli.jobs.task import Task
from xlsr_cli.media.picture.animation import Animation, capabilities_of, open_animation, write_animation
from xlsr_cli.media.picture.fitting import fit_times
from xlsr_cli.media.picture.metadata import Metadata
from xlsr_cli.media.picture.source import Film
from xlsr_cli.media.picture.steps.opening import open_picture
from xlsr_cli.options import PictureOptions, Size, Target

FORMATS = ("gif", "png", "webp")
PLAIN = Metadata()


@pytest.fixture(scope="module")
def upscaler() -> Iterator[Upscaler]:
    made = Upscaler(2, threads=1)
    yield made
    made.close()


def ball(count: int = 4, *, alpha: bool = False, size: tuple[int, int] = (24, 16)) -> list[np.ndarray]:
    """A disc that moves over a plain ground, or over nothing: BGR or BGRA."""
    width, height = size
    rows, columns = np.mgrid[:height, :width]
    frames = []
    for number in range(count):
        disc = (rows - height / 2) ** 2 + (columns - 5 - 4 * number) ** 2 < 20
        frame = np.full((height, width, 4), (200, 120, 40, 0 if alpha else 255), np.uint8)
        frame[disc] = (30, 60 + 40 * number % 190, 220, 255)
        frames.append(frame if alpha else frame[..., :3].copy())
    return frames


def encoded(
    format: str,
    frames: Sequence[np.ndarray],
    delays: Sequence[Fraction] | None = None,
    plays: int = 0,
    metadata: Metadata = PLAIN,
) -> bytes:
    """An animation by our own writer, losslessly where the format can."""
    height, width = frames[0].shape[:2]
    film = Film(
        size=Size(width=width, height=height),
        delays=delays or [Fraction(1, 10)] * len(frames),
        plays=plays,
        metadata=metadata,
    )
    file = io.BytesIO()
    write_animation(file, format, film, iter(frames), lossless=True)  # type: ignore[arg-type]
    return file.getvalue()


def opened(data: bytes) -> Animation:
    return open_animation(open_picture(data, "it"), max_pixels=4_000_000)


def seen(data: bytes) -> list[np.ndarray]:
    """The frames as Pillow composes them, RGBA."""
    with Image.open(io.BytesIO(data)) as image:
        frames = []
        for number in range(getattr(image, "n_frames", 1)):
            image.seek(number)
            frames.append(np.array(image.convert("RGBA")))
        return frames


def as_rgba(frame: np.ndarray) -> np.ndarray:
    if frame.ndim == 2:
        frame = np.dstack([frame] * 3)
    if frame.shape[2] == 3:
        frame = np.dstack([frame, np.full(frame.shape[:2], 255, np.uint8)])
    rgba = frame[..., [2, 1, 0, 3]].copy()
    rgba[rgba[..., 3] == 0] = 0
    return rgba


def run(
    tmp_path: Path, data: bytes, name: str, upscaler: Upscaler, output: str = "out.gif", **options: Any
) -> tuple[AnimationResult, bytes]:
    source = tmp_path / name
    source.write_bytes(data)
    result = upscale_animation(
        open_file(source), tmp_path / output, Task(options=PictureOptions(**options), upscaler=upscaler)
    )
    return result, (tmp_path / output).read_bytes()


class TestWriting:
    @pytest.mark.parametrize("alpha", [False, True])
    @pytest.mark.parametrize("format", FORMATS)
    def test_every_frame_looks_as_it_should(self, format: str, alpha: bool) -> None:
        frames = ball(alpha=alpha)
        found = seen(encoded(format, frames))
        assert len(found) == len(frames)
        for frame, shown in zip(frames, found, strict=True):
            shown[shown[..., 3] == 0] = 0
            np.testing.assert_array_equal(shown, as_rgba(frame))

    @settings(deadline=None, max_examples=40)
    @given(
        st.sampled_from(("gif", "png")),
        st.lists(st.lists(st.integers(0, 3), min_size=12, max_size=12), min_size=2, max_size=5),
    )
    def test_whatever_becomes_transparent(self, format: str, drawn: list[list[int]]) -> None:
        """Pixels that appear, stay, change and vanish, in every order."""
        colours = np.array([(0, 0, 0, 0), (0, 0, 255, 255), (0, 255, 0, 255), (255, 0, 0, 255)], np.uint8)
        frames = [colours[np.array(cells).reshape(3, 4)] for cells in drawn]
        found = seen(encoded(format, frames))
        for frame, shown in zip(frames, found, strict=True):
            shown[shown[..., 3] == 0] = 0
            np.testing.assert_array_equal(shown, as_rgba(frame))

    @pytest.mark.parametrize("format", ["gif", "png"])
    def test_equal_frames_stay_frames(self, format: str) -> None:
        frames = [ball(1)[0]] * 3
        assert len(seen(encoded(format, frames))) == 3

    def test_webp_makes_equal_frames_one_longer_one(self) -> None:
        """libwebp does; what is seen, and for how long, is the same."""
        first, second = ball(2)
        data = encoded("webp", [first, first, second], [Fraction(1, 10), Fraction(1, 5), Fraction(1, 4)])
        assert opened(data).delays == (Fraction(3, 10), Fraction(1, 4))

    @pytest.mark.parametrize("format", FORMATS)
    @pytest.mark.parametrize("plays", [0, 1, 2, 7])
    def test_loops(self, format: str, plays: int) -> None:
        assert opened(encoded(format, ball(), plays=plays)).plays == plays

    @pytest.mark.parametrize(
        ("format", "delays"),
        [
            ("gif", [Fraction(0), Fraction(1, 100), Fraction(3, 2), Fraction(655, 1)]),
            ("webp", [Fraction(1, 1000), Fraction(17, 1000), Fraction(3), Fraction(1, 8)]),
            ("png", [Fraction(1, 60), Fraction(1001, 30000), Fraction(0), Fraction(999)]),
        ],
    )
    def test_delays(self, format: str, delays: list[Fraction]) -> None:
        assert fit_times(delays, 0, capabilities_of(format))[2] == []
        assert opened(encoded(format, ball(4), delays)).delays == tuple(delays)

    @given(st.lists(st.fractions(0, 2), min_size=1, max_size=50))
    def test_rounded_delays_do_not_drift(self, delays: list[Fraction]) -> None:
        tick = Fraction(1, 100)
        ticks = Film(size=Size(width=1, height=1), delays=delays, plays=0, metadata=PLAIN).ticks(100)
        ends = zip(itertools.accumulate(ticks), itertools.accumulate(delays), strict=True)
        assert all(abs(found * tick - exact) <= tick / 2 for found, exact in ends)
        assert min(ticks) >= 0

    def test_gif_keeps_up_to_255_colours_exactly_and_is_near_beyond(self) -> None:
        gray = np.arange(255, dtype=np.uint8).repeat(2).reshape(15, 34)
        frame = np.dstack([gray, gray, gray])
        np.testing.assert_array_equal(seen(encoded("gif", [frame, frame]))[1], as_rgba(frame))
        many = np.random.default_rng(1).integers(0, 256, (8, 8, 3)).repeat(8, 0).repeat(8, 1).astype(np.uint8)
        many += np.arange(64, dtype=np.uint8)[:, None, None] // 4
        shown = seen(encoded("gif", [many, many]))[0]
        assert np.abs(shown[..., :3].astype(int) - as_rgba(many)[..., :3]).mean() < 6

    @pytest.mark.parametrize("format", ["gif", "png"])
    def test_only_what_changes_is_stored(self, format: str) -> None:
        noise = np.random.default_rng(2).integers(0, 4, (60, 60, 3), dtype=np.uint8) * 60
        second = noise.copy()
        second[10:14, 10:14] = 255
        one, two = (len(encoded(format, frames)) for frames in ([noise, noise], [noise, second]))
        assert two - one < 900  # GIF carries a palette of 768 bytes for each frame

    def test_gray_apng(self) -> None:
        frames = [np.full((4, 5), value, np.uint8) for value in (9, 99)]
        data = encoded("png", frames)
        assert data[25] == 0  # colour type gray
        assert opened(data).channels == 1

    def test_memory_does_not_grow_with_frames(self) -> None:
        def peak(count: int, format: str) -> int:
            frames = (np.full((200, 200, 3), number % 251, np.uint8) for number in range(count))
            film = Film(
                size=Size(width=200, height=200), delays=[Fraction(1, 10)] * count, plays=0, metadata=PLAIN
            )
            tracemalloc.start()
            write_animation(io.BytesIO(), format, film, frames)  # type: ignore[arg-type]
            most = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            return most

        for format in FORMATS:
            # A frame is 120 kB; what grows is the encoded file alone.
            assert peak(60, format) - peak(10, format) < 10 * 120_000


class TestUpscaling:
    @pytest.mark.parametrize("source", FORMATS)
    @pytest.mark.parametrize("target", ["png", "webp"])
    def test_frames_are_those_of_the_engine(
        self, tmp_path: Path, upscaler: Upscaler, source: str, target: str
    ) -> None:
        frames = ball(alpha=True)
        result, written = run(
            tmp_path, encoded(source, frames), f"in.{source}", upscaler, f"out.{target}", lossless=True
        )
        assert result.frames == len(frames)
        assert result.size == Size(width=48, height=32)
        composed = opened((tmp_path / f"in.{source}").read_bytes()).frames()
        for frame, shown in zip(composed, seen(written), strict=True):
            expected = as_rgba(upscaler(frame))
            shown[shown[..., 3] == 0] = 0
            np.testing.assert_array_equal(shown, expected)

    def test_gif_to_gif(self, tmp_path: Path, upscaler: Upscaler) -> None:
        delays = [Fraction(n, 100) for n in (0, 1, 7, 50)]
        data = encoded("gif", ball(alpha=True), delays, plays=3)
        result, written = run(tmp_path, data, "in.gif", upscaler)
        found = opened(written)
        assert (found.delays, found.plays, found.size) == (tuple(delays), 3, Size(width=48, height=32))
        assert result.notices == ()
        for frame in seen(written):
            assert set(np.unique(frame[..., 3])) <= {0, 255}

    @pytest.mark.parametrize("source", FORMATS)
    @pytest.mark.parametrize("target", FORMATS)
    def test_delays_and_loops_from_one_to_another(
        self, tmp_path: Path, upscaler: Upscaler, source: str, target: str
    ) -> None:
        delays = [Fraction(n, 100) for n in (4, 10, 33, 100)]
        data = encoded(source, ball(), delays, plays=5)
        _, written = run(tmp_path, data, f"in.{source}", upscaler, f"out.{target}")
        assert opened(written).delays == tuple(delays)
        assert opened(written).plays == 5

    def test_rounded_delays_are_said(self, tmp_path: Path, upscaler: Upscaler) -> None:
        data = encoded("png", ball(), [Fraction(1, 60)] * 4)
        result, written = run(tmp_path, data, "in.png", upscaler, "out.webp")
        assert [notice.code for notice in result.notices] == ["delays-rounded"]
        assert opened(written).delays == tuple(Fraction(n, 1000) for n in (17, 16, 17, 17))

    def test_metadata_is_kept_or_named(self, tmp_path: Path, upscaler: Upscaler) -> None:
        metadata = Metadata(icc=b"profile" * 30, xmp=b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>")
        data = encoded("png", ball(), metadata=metadata)
        _, webp = run(tmp_path, data, "in.png", upscaler, "out.webp")
        assert opened(webp).metadata.icc == metadata.icc
        assert opened(webp).metadata.xmp == metadata.xmp
        result, gif = run(tmp_path, data, "in.png", upscaler)
        assert [notice.code for notice in result.notices] == ["icc-dropped", "colors-reduced"]
        assert opened(gif).metadata.xmp == metadata.xmp
        _, bare = run(tmp_path, data, "in.png", upscaler, "bare.webp", strip=True)
        assert opened(bare).metadata.xmp is None

    def test_comments_of_a_gif_stay(self, tmp_path: Path, upscaler: Upscaler) -> None:
        comment = b"made by hand " * 40
        data = encoded("gif", ball(), metadata=Metadata(text=((b"GIF", comment),)))
        _, written = run(tmp_path, data, "in.gif", upscaler)
        assert opened(written).metadata.text == ((b"GIF", comment),)

    def test_strict(self, tmp_path: Path, upscaler: Upscaler) -> None:
        data = encoded("png", ball(), metadata=Metadata(icc=b"profile" * 30))
        with pytest.raises(NotKeptError, match="icc-dropped"):
            run(tmp_path, data, "in.png", upscaler, strict=True)
        assert not (tmp_path / "out.gif").exists()

    def test_tiles_that_do_not_change_are_reused(self, tmp_path: Path, upscaler: Upscaler) -> None:
        frames = ball(6, size=(300, 200))
        result, written = run(tmp_path, encoded("png", frames), "in.png", upscaler, "out.png")
        assert result.reused > 0.5
        for frame, shown in zip(frames, seen(written), strict=True):
            np.testing.assert_array_equal(shown, as_rgba(upscaler(frame)))

    def test_sizes_by_other_means(self, tmp_path: Path) -> None:
        target = Target(width=60)
        upscaler = Upscaler.from_options(PictureOptions().engine, target)
        result, written = run(tmp_path, encoded("gif", ball()), "in.gif", upscaler, target=target)
        assert result.size == opened(written).size == Size(width=60, height=40)


class TestRefusing:
    @pytest.mark.parametrize("output", ["out.jpg", "out.mkv", "out.tif", "out"])
    def test_what_holds_no_animation(self, tmp_path: Path, upscaler: Upscaler, output: str) -> None:
        with pytest.raises(UsageError, match=r"holds no animation; write \.gif, \.png or \.webp"):
            run(tmp_path, encoded("gif", ball()), "in.gif", upscaler, output)
        assert not (tmp_path / output).exists()

    def test_format_decides_before_the_name(self, tmp_path: Path, upscaler: Upscaler) -> None:
        _, written = run(tmp_path, encoded("gif", ball()), "in.gif", upscaler, "out.gif", format="webp")
        assert written[8:12] == b"WEBP"
        with pytest.raises(UsageError, match="JPEG holds no animation"):
            run(tmp_path, encoded("gif", ball()), "in.gif", upscaler, "2.gif", format="jpeg")

    def test_too_large(self, tmp_path: Path, upscaler: Upscaler) -> None:
        data = encoded("gif", ball())
        with pytest.raises(InputError, match="max_pixels"):
            run(tmp_path, data, "in.gif", upscaler, max_pixels=100)
        wide = encoded("png", [np.zeros((1, 9000, 3), np.uint8)] * 2)
        with pytest.raises(OutputError, match="16383 pixels"):
            run(tmp_path, wide, "in.png", upscaler, "out.webp")

    @pytest.mark.parametrize("format", FORMATS)
    def test_cut_off(self, tmp_path: Path, upscaler: Upscaler, format: str) -> None:
        """What is whole is kept, as browsers do; with nothing whole it is refused, and never a crash."""
        frames = list(np.random.default_rng(5).integers(0, 256, (4, 30, 30, 3), dtype=np.uint8))
        data = encoded(format, frames)
        counts = set()
        for part in (0.1, 0.3, 0.5, 0.7, 0.9, 0.99):
            try:
                found = opened(data[: int(len(data) * part)])
            except InputError as error:
                assert "damaged" in str(error)
                counts.add(0)
                continue
            assert len(list(found.frames())) == len(found.delays)
            if len(found.delays) < 4 and format != "webp":
                assert "frames-damaged" in {notice.code for notice in found.notices}
            counts.add(len(found.delays))
        assert min(counts) == 0

    @pytest.mark.parametrize("format", FORMATS)
    def test_changed_bytes_never_crash(self, format: str) -> None:
        data = encoded(format, ball())
        random = np.random.default_rng(6)
        for _ in range(60):
            broken = bytearray(data)
            for place in random.integers(0, len(data), 3):
                broken[place] = random.integers(0, 256)
            with contextlib.suppress(InputError):
                assert len(list(opened(bytes(broken)).frames())) >= 1


def test_the_odd_animations(shared_data: Path, tmp_path: Path, upscaler: Upscaler) -> None:
    for path in sorted((shared_data / "odd" / "anim").iterdir()):
        data = path.read_bytes()
        try:
            before = opened(data)
        except InputError:
            continue
        for format in FORMATS:
            output = tmp_path / f"{path.name}.{format}"
            if before.size.pixels > 200_000 and format == "webp":
                continue  # seconds of encoding, and nothing new
            upscale_animation(open_file(path), output, Task(upscaler=upscaler))
            after = opened(output.read_bytes())
            if format == "webp" and len(after.delays) == 1:
                continue  # of frames that are all equal, libwebp makes a still picture
            assert after.plays == before.plays, output
            assert after.seconds == before.seconds, output
            if format != "webp":
                assert after.delays == before.delays, output
