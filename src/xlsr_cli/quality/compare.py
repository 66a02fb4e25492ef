"""Compare picture files; test a model on a picture that is shrunk and enlarged again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from xlsr_cli.engine.pixels import Pixels
from xlsr_cli.engine.restore import Compression
from xlsr_cli.engine.upscaler import Upscaler
from xlsr_cli.errors import InputError, UsageError
from xlsr_cli.formats import FALLBACK
from xlsr_cli.jobs.picture import open_file
from xlsr_cli.jobs.restore import compression_of
from xlsr_cli.media.compression.picture import compressed_as
from xlsr_cli.media.picture.metadata import Metadata
from xlsr_cli.media.picture.source import Picture, Source
from xlsr_cli.media.picture.steps.decoding import decode
from xlsr_cli.notices import Notice
from xlsr_cli.options import DEFAULT_MAX_PIXELS, Size
from xlsr_cli.quality.bicubic import imresize
from xlsr_cli.quality.metrics import Scores, compare
from xlsr_cli.quality.page import PagePair, PagePicture, picture_file, picture_pixels


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """How one picture compares with the reference."""

    name: str
    scores: Scores


@dataclass(frozen=True, kw_only=True)
class SelfTest:
    """A picture shrunk, compressed as it was, and enlarged again by the model, bicubic and Lanczos.

    ``compression`` is what was found in the file. ``reference`` and ``enlarged`` (by the names of ``rows``,
    the model's first) are pixels of one size.
    """

    rows: Sequence[Comparison]
    reference: Pixels
    enlarged: dict[str, Pixels]
    shrunk: Size
    compression: Compression


def compare_files(
    reference: Path, tests: Sequence[Path], *, border: int = 0
) -> tuple[list[Comparison], dict[Path, list[Notice]]]:
    """Compare each of ``tests`` with ``reference``; the notices tell what was left out of each file.

    Raises :class:`InputError` where a file cannot be read or a size differs, saying which, and
    :class:`UsageError` where nothing is left within ``border``.
    """
    notices = {}
    expected, notices[reference] = _opaque(open_file(reference))
    _check_border(expected, border, reference)
    rows = []
    for path in tests:
        found, notices[path] = _opaque(open_file(path))
        if found.shape[:2] != expected.shape[:2]:
            raise InputError(
                f"{path} is {_size(found)} and the reference {reference} is {_size(expected)}; "
                "only pictures of one size can be compared"
            )
        rows.append(Comparison(name=str(path), scores=compare(expected, found, border=border)))
    return rows, notices


def compare_self(
    path: Path, scale: int, upscaler: Upscaler, *, border: int | None = None
) -> tuple[SelfTest, list[Notice]]:
    """Shrink the picture ``path`` by ``scale`` (MATLAB's bicubic), compress it as it was, enlarge, compare.

    Its right and lower edges are cropped to a multiple of ``scale``; ``border`` is ``scale`` by default,
    as in the literature. Raises :class:`InputError` where it cannot be read, :class:`UsageError` where
    it is too small to be shrunk or nothing is left within ``border``.
    """
    source = open_file(path)
    picture, notices = _opaque(source)
    height, width = (side // scale * scale for side in picture.shape[:2])
    if min(height, width) < 3 * scale:
        raise UsageError(f"{path} ({_size(picture)}) is too small to be shrunk by {scale}; take a larger one")
    size, shrunk = Size(width=width, height=height), Size(width=width // scale, height=height // scale)
    compression = compression_of(source, lambda: picture, upscaler.first_scale(shrunk, size))
    upscaler = upscaler.restoring(compression.level)
    reference = _pixels(picture[:height, :width])
    low = _rounded(imresize(reference.astype(np.float64), height // scale, width // scale), reference)
    low = compressed_as(low, compression, source.format)
    enlarged: dict[str, Pixels] = {
        "xlsr": upscaler(low, size=size),
        "bicubic": _rounded(imresize(low.astype(np.float64), height, width), reference),
        "Lanczos": _pixels(cv2.resize(low, (width, height), interpolation=cv2.INTER_LANCZOS4)),
    }
    cropped = scale if border is None else border
    _check_border(reference, cropped, path)
    rows = [
        Comparison(name=name, scores=compare(reference, pixels, border=cropped))
        for name, pixels in enlarged.items()
    ]
    test = SelfTest(rows=rows, reference=reference, enlarged=enlarged, shrunk=shrunk, compression=compression)
    return test, notices


def file_pairs(reference: Path, rows: Sequence[Comparison]) -> list[PagePair]:
    """The reference beside each picture that was compared with it, for the page."""
    before = picture_file(reference, f"reference: {reference.name}")
    return [
        PagePair(
            before=before,
            after=picture_file(Path(row.name), Path(row.name).name),
            name=Path(row.name).name,
            facts=facts(row.scores),
        )
        for row in rows
    ]


def self_pairs(test: SelfTest, name: str) -> list[PagePair]:
    """Bicubic beside the model, then the original beside each, for the page."""
    sides = {label: _as_png(pixels, label) for label, pixels in test.enlarged.items()}
    original = _as_png(test.reference, "original")
    scores = {row.name: row.scores for row in test.rows}
    pairs = [
        PagePair(
            before=sides["bicubic"],
            after=sides["xlsr"],
            name=f"{name}: bicubic and xlsr",
            facts=[
                (what, f"{before} → {after}")
                for (what, before), (_, after) in zip(
                    facts(scores["bicubic"]), facts(scores["xlsr"]), strict=True
                )
            ],
        )
    ]
    pairs += [
        PagePair(
            before=original, after=side, name=f"{name}: original and {label}", facts=facts(scores[label])
        )
        for label, side in sides.items()
    ]
    return pairs


def facts(scores: Scores) -> list[tuple[str, str]]:
    """The scores by name, in words."""
    rows = [("PSNR Y′", decibel(scores.psnr_y)), ("SSIM Y′", f"{scores.ssim_y:.4f}")]
    if scores.psnr_rgb is not None and scores.ssim_rgb is not None:
        rows += [("PSNR RGB", decibel(scores.psnr_rgb)), ("SSIM RGB", f"{scores.ssim_rgb:.4f}")]
    return rows


def decibel(value: float) -> str:
    """``31.24 dB``, or ``identical``."""
    return "identical" if np.isinf(value) else f"{value:.2f} dB"


def _opaque(source: Source) -> tuple[Pixels, list[Notice]]:
    """The picture as gray or BGR; a notice says so if alpha is left out."""
    picture, notices = decode(source, max_pixels=DEFAULT_MAX_PIXELS)
    pixels = picture.pixels
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    if channels not in (2, 4):
        return _pixels(pixels), notices
    opaque = pixels[..., 0] if channels == 2 else pixels[..., :3]
    notice = Notice(code="alpha-not-compared", message="its alpha is not compared", loss=False)
    return _pixels(opaque), [*notices, notice]


def _check_border(pixels: Pixels, border: int, path: Path) -> None:
    if 2 * border >= min(pixels.shape[:2]):
        raise UsageError(f"--border {border} leaves nothing of {path} ({_size(pixels)}) to compare")


def _pixels(pixels: NDArray[np.generic] | cv2.typing.MatLike) -> Pixels:
    made: Pixels = np.ascontiguousarray(pixels)
    return made


def _rounded(values: NDArray[np.float64], like: Pixels) -> Pixels:
    """Rounded half up to the depth of ``like``."""
    return np.clip(np.floor(values + 0.5), 0, np.iinfo(like.dtype).max).astype(like.dtype)


def _as_png(pixels: Pixels, label: str) -> PagePicture:
    return picture_pixels(Picture(pixels=pixels, metadata=Metadata(), format=FALLBACK.name), label)


def _size(pixels: Pixels) -> Size:
    return Size(width=int(pixels.shape[1]), height=int(pixels.shape[0]))
