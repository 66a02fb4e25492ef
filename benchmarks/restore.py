"""Measure ``--restore auto``: right choices, the loss by wrong ones, and the time that the look takes.

``python -m benchmarks.restore FOLDER… --every 40`` shrinks pictures (every 40th of a folder with many) by
MATLAB's bicubic, stores them in each format and quality, and scores the result of every level: PSNR on
Y′, a border of *scale* pixels cropped. No network may have been trained on the pictures. It prints the tables
of ``docs/restore.md``.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from training.compress import ROBIDOUX, scaled_table
from xlsr_cli.engine.models import Restore, bundled_models
from xlsr_cli.engine.upscaler import Upscaler
from xlsr_cli.jobs.picture import open_file
from xlsr_cli.jobs.restore import for_film, for_picture
from xlsr_cli.media.picture.steps.decoding import decode
from xlsr_cli.media.video.pyav import usual_scheduling
from xlsr_cli.options import Size
from xlsr_cli.quality.bicubic import imresize, shrink, to_uint8
from xlsr_cli.quality.metrics import luma_psnr

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Encoding:
    """A kind of file, the qualities at which pictures are stored in it, and whether as PNG afterwards, too.

    ``tables``: the JPEG has mozjpeg's quantization tables. ``chroma``: it keeps all of its chroma (4:4:4).
    """

    name: str
    suffix: str
    qualities: tuple[int, ...]
    tables: bool = False
    chroma: bool = False
    was: bool = False


FILES = (
    Encoding(name="jpg", suffix=".jpg", qualities=(30, 50, 65, 75, 80, 85, 90, 95, 98), was=True),
    Encoding(name="jpg 4:4:4", suffix=".jpg", qualities=(50, 75, 85, 95), chroma=True),
    Encoding(name="jpg, mozjpeg's tables", suffix=".jpg", qualities=(50, 75, 85, 95), tables=True),
    Encoding(name="webp", suffix=".webp", qualities=(30, 50, 65, 75, 85, 95)),
    Encoding(name="avif", suffix=".avif", qualities=(30, 50, 65, 75, 85, 95)),
    Encoding(name="png", suffix=".png", qualities=(0,)),
)
#: Encoder and the constant rate factors of films.
FILMS: tuple[tuple[str, str, dict[str, str], tuple[int, ...]], ...] = (
    ("libx264", ".mp4", {"preset": "medium"}, (14, 18, 20, 22, 23, 24, 26, 28, 33)),
    ("libx265", ".mp4", {"preset": "fast", "x265-params": "log-level=none"}, (16, 20, 23, 26, 28, 32)),
    ("libsvtav1", ".mp4", {"preset": "10"}, (15, 22, 28, 35, 45)),
    ("libvpx-vp9", ".webm", {"b": "0", "cpu-used": "5", "deadline": "realtime"}, (15, 22, 28, 35, 45)),
    ("libvpx", ".webm", {"b": "4M", "cpu-used": "5", "deadline": "realtime"}, (4, 10, 16, 24, 40)),
    ("mpeg4", ".avi", {}, (2, 3, 4, 5, 7, 10)),
    ("mpeg2video", ".mpg", {}, (2, 3, 4, 5, 7, 10)),
)
_NEAR = 0.1


@dataclass(frozen=True, kw_only=True)
class Scored:
    """One file: what was found out, the chosen level, and the gain of each level over bicubic in dB."""

    kind: str
    picture: int
    found: str
    number: float
    chosen: Restore
    gains: dict[Restore, float]

    @property
    def right(self) -> bool:
        """Whether the choice is the best one, or within a tenth of a decibel of it."""
        return self.gains[self.chosen] >= max(self.gains.values()) - _NEAR


def main() -> None:
    """Print the shares of right choices, and the tables."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("folders", type=Path, nargs="+")
    options.add_argument("--every", type=int, default=1, help="only every n-th picture of a folder")
    options.add_argument("--scale", type=int, default=2)
    options.add_argument("--films", action="store_true", help="films instead of pictures")
    options.add_argument("--list", type=Path, help="a CSV file for what was found in every file")
    given = options.parse_args()
    pictures = [
        picture
        for folder in given.folders
        for path in sorted(folder.rglob("*.png")) + sorted(folder.rglob("*.webp"))[:: given.every]
        if (picture := cv2.imread(str(path))) is not None
    ]
    upscaler = Upscaler(float(given.scale))
    score = _films if given.films else _files
    with tempfile.TemporaryDirectory() as place:
        scored = list(score([np.asarray(p, np.uint8) for p in pictures], given.scale, upscaler, Path(place)))
    if given.list:
        _list(scored, given.list)
    _print(scored)
    if not given.films:
        _print_cost()


def levels() -> list[Restore]:
    """The levels that stand for compression and have networks."""
    return [
        level for level in ("off", "light", "strong") if level in {spec.restore for spec in bundled_models()}
    ]


def _files(pictures: list[Pixels], scale: int, upscaler: Upscaler, place: Path) -> Iterator[Scored]:
    for number, picture in enumerate(pictures):
        reference = _whole(picture, scale)
        low = shrink(reference, scale)
        for encoding in FILES:
            for quality in encoding.qualities:
                path = place / f"file{encoding.suffix}"
                _store(low, path, encoding, quality)
                kind = f"{encoding.name} {quality or ''}".strip()
                yield _scored(kind, number, path, reference, scale, upscaler)
                if encoding.was:
                    decoded = cv2.imread(str(path))
                    assert decoded is not None
                    cv2.imwrite(str(place / "was.png"), decoded)
                    kind = f"png that was {kind}"
                    yield _scored(kind, number, place / "was.png", reference, scale, upscaler)


def _store(picture: Pixels, path: Path, encoding: Encoding, quality: int) -> None:
    if encoding.tables:
        table = scaled_table(ROBIDOUX, quality)
        Image.fromarray(picture[..., ::-1]).save(path, qtables=[table, table], subsampling=2)
        return
    flags = {".jpg": cv2.IMWRITE_JPEG_QUALITY, ".webp": cv2.IMWRITE_WEBP_QUALITY}
    flags |= {".avif": cv2.IMWRITE_AVIF_QUALITY}
    settings = [flags[encoding.suffix], quality] if quality else []
    if encoding.chroma:
        settings += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    cv2.imwrite(str(path), picture, settings)


def _scored(kind: str, number: int, path: Path, reference: Pixels, scale: int, upscaler: Upscaler) -> Scored:
    source = open_file(path)
    decoded = np.asarray(decode(source, max_pixels=1 << 30)[0].pixels, np.uint8)
    sizes = _size(decoded), _size(reference)
    _, found = for_picture(upscaler, source, lambda: decoded, sizes)
    assert found is not None
    gains = _gains(decoded, reference, scale, upscaler, {*levels(), found.level})
    return Scored(
        kind=kind, picture=number, found=found.what, number=found.value, chosen=found.level, gains=gains
    )


def _gains(
    low: Pixels, reference: Pixels, scale: int, upscaler: Upscaler, wanted: Iterable[Restore]
) -> dict[Restore, float]:
    height, width = reference.shape[:2]
    bicubic = luma_psnr(reference, to_uint8(imresize(low.astype(np.float64), height, width)), scale)
    return {
        level: luma_psnr(reference, np.asarray(upscaler.restoring(level)(low), np.uint8), scale) - bicubic
        for level in wanted
    }


def _films(pictures: list[Pixels], scale: int, upscaler: Upscaler, place: Path) -> Iterator[Scored]:
    """Films that pan over pictures; every fourth frame is scored."""
    for picture_number, picture in enumerate(pictures):
        frames = [_whole(frame, 2 * scale) for frame in _panned(picture)]
        if not frames:
            continue
        lows = [shrink(frame, scale) for frame in frames]
        for encoder, suffix, settings, factors in FILMS:
            for factor in factors:
                path = place / f"film{suffix}"
                _encode(path, lows, encoder, settings, factor)
                _, found = for_film(upscaler, path, (_size(lows[0]), _size(frames[0])))
                assert found is not None
                pairs = list(zip(_frames_of(path), frames, strict=False))[::4]
                each = [_luma_gains(low, high, scale, upscaler) for low, high in pairs]
                gains = {level: float(np.mean([one[level] for one in each])) for level in levels()}
                yield Scored(
                    kind=f"{encoder} {factor}",
                    picture=picture_number,
                    found=found.what,
                    number=found.value,
                    chosen=found.level,
                    gains=gains,
                )


def _luma_gains(low: Pixels, high: Pixels, scale: int, upscaler: Upscaler) -> dict[Restore, float]:
    """On luma alone, as films are enlarged."""
    luma = np.asarray(cv2.cvtColor(high, cv2.COLOR_BGR2GRAY), np.uint8)
    return _gains(low, luma, scale, upscaler, levels())


def _panned(picture: Pixels, frames: int = 24) -> list[Pixels]:
    """A window of four fifths of ``picture`` that moves over it."""
    height, width = (side * 4 // 5 for side in picture.shape[:2])
    down, across = picture.shape[0] - height, picture.shape[1] - width
    if min(height, width) < 96:
        return []
    starts = [(down * number // frames, across * number // frames) for number in range(frames)]
    return [picture[top : top + height, left : left + width] for top, left in starts]


def _encode(path: Path, frames: list[Pixels], encoder: str, settings: dict[str, str], factor: int) -> None:
    import av

    by_scale = encoder.startswith("mpeg")
    wanted = {"qmin": str(factor), "qmax": str(factor)} if by_scale else {"crf": str(factor)}
    with usual_scheduling(), av.open(str(path), "w") as output:
        stream: Any = output.add_stream(encoder, rate=25)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt, stream.options = "yuv420p", settings | wanted
        for number, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="bgr24")
            frame = frame.reformat(format="yuv420p", dst_color_range="JPEG")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            output.mux(stream.encode(frame))
        output.mux(stream.encode())


def _frames_of(path: Path) -> list[Pixels]:
    """The luma of every frame."""
    import av

    with av.open(str(path)) as film:
        frames = film.decode(film.streams.video[0])
        return [np.asarray(frame.to_ndarray()[: frame.height, : frame.width], np.uint8) for frame in frames]


def _whole(picture: Pixels, scale: int) -> Pixels:
    height, width = (side // scale * scale for side in picture.shape[:2])
    return picture[:height, :width]


def _size(picture: Pixels) -> Size:
    return Size(width=picture.shape[1], height=picture.shape[0])


def _list(scored: list[Scored], path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["kind", "picture", "found", "value", "chosen", *levels()])
        for one in scored:
            gains = [f"{one.gains[level]:.3f}" for level in levels()]
            rows.writerow([one.kind, one.picture, one.found, f"{one.number:.3f}", one.chosen, *gains])


def _print(scored: list[Scored]) -> None:
    kinds: dict[str, list[Scored]] = defaultdict(list)
    for one in scored:
        kinds[one.kind].append(one)
    print("| file | auto | " + " | ".join(levels()) + " | worst of auto | right | found |")
    for kind, all_of in kinds.items():
        chosen = np.array([one.gains[one.chosen] for one in all_of])
        means = [f"{np.mean([one.gains[level] for one in all_of]):+.2f}" for level in levels()]
        right = 100 * np.mean([one.right for one in all_of])
        number = float(np.mean([one.number for one in all_of]))
        print(
            f"| {kind} | {chosen.mean():+.2f} | {' | '.join(means)} | {chosen.min():+.2f} | {right:.0f} % "
            f"| {number:.1f} |"
        )
    was = [one for one in scored if one.kind.startswith("png that was")]
    known = [one for one in scored if not one.kind.startswith("png that was")]
    for name, group in (("of known quality", known), ("PNG that were JPEG", was)):
        if group:
            right = 100 * np.mean([one.right for one in group])
            print(f"{len(group)} files {name}: right in {right:.1f} of 100")


def _print_cost() -> None:
    """Print the time of the look at pixels beside the time of enlarging them, on this machine."""
    from xlsr_cli.bench.pictures import made_picture
    from xlsr_cli.engine.restore import look

    picture = made_picture(Size(width=1200, height=900))
    upscaler = Upscaler(2.0, restore="off")
    for name, work in (("look", lambda: look(picture, 2)), ("enlarge ×2", lambda: upscaler(picture))):
        work()
        seconds = []
        for _ in range(7):
            started = time.perf_counter()
            work()
            seconds.append(time.perf_counter() - started)
        print(f"{name}: {1000 * min(seconds):.1f} ms for 1200x900")


if __name__ == "__main__":
    main()
