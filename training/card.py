"""Measure what the model card says, and write its tables between their markers.

``python -m training.card --eval DIR --manifest MANIFEST.csv`` rewrites ``models/MODEL_CARD.md``.
"""

from __future__ import annotations

import argparse
import csv
import re
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from training.data import HOLD_OUT_EVERY
from training.evaluate import score_planes
from training.levels import film_cases, film_gains, gains, jpeg_cases, through_jpeg
from training.ship import model_upscale
from xlsr_cli.engine.models import ModelSpec, read_manifest
from xlsr_cli.engine.session import Session
from xlsr_cli.engine.upscaler import Upscaler
from xlsr_cli.quality.bicubic import imresize, shrink, to_uint8
from xlsr_cli.quality.metrics import luma_psnr

Pixels = NDArray[np.uint8]
QUALITIES = (None, 95, 85, 75, 50)
#: JPEG qualities at which the networks for compressed sources are measured, and the range that each is for.
LEVEL_QUALITIES = (30, 50, 65, 75, 80, 85, 90, 95)
LEVEL_RANGES = {"strong": range(30, 81), "light": range(80, 96)}
#: x264's quality numbers at which films are measured.
CRFS = (18, 23, 28, 33)
#: Held-out pictures of the training folder (every fortieth), chosen for what they show.
CROPS = [f"{index * HOLD_OUT_EVERY:04d}.webp" for index in (24, 5, 7, 3)]


def read_colour(path: Path) -> Pixels:
    """A picture as uint8 BGR (H, W, 3)."""
    decoded = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
    if decoded is None:
        raise ValueError(f"{path} cannot be read as a picture")
    return np.asarray(decoded, dtype=np.uint8)


def jpeg_table(folder: Path) -> str:
    """What the clean networks gain over bicubic in dB after JPEG, by scale and colour handling."""
    lines = ["| input | " + " | ".join(f"×{s} rgb | ×{s} luma" for s in (2, 3, 4)) + " |"]
    lines.append("|---|" + "---|---|" * 3)
    pictures = [read_colour(path) for path in sorted(folder.rglob("*.png"))]
    for quality in QUALITIES:
        cells = []
        for scale in (2, 3, 4):
            for color in ("rgb", "ycbcr"):
                upscaler = Upscaler(scale, color=color, restore="off")
                gains = [_gain(upscaler, picture, scale, quality) for picture in pictures]
                cells.append(f"{np.mean(gains):+.2f}")
        name = "not compressed" if quality is None else f"JPEG quality {quality}"
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _gain(upscaler: Upscaler, picture: Pixels, scale: int, quality: int | None) -> float:
    height, width = (side // scale * scale for side in picture.shape[:2])
    reference = picture[:height, :width]
    low = through_jpeg(shrink(reference, scale), quality)
    bicubic = to_uint8(imresize(low, height, width))
    return luma_psnr(reference, upscaler(low), scale) - luma_psnr(reference, bicubic, scale)


def levels_table(folder: Path, specs: tuple[ModelSpec, ...]) -> str:
    """What the networks for compressed sources gain over bicubic, in dB; in brackets the least gain."""
    lines = ["| network | " + " | ".join(str(quality) for quality in LEVEL_QUALITIES) + " |"]
    lines.append("|---|" + "---|" * len(LEVEL_QUALITIES))
    for scale in (2, 3, 4):
        cases = {quality: jpeg_cases(folder, scale, quality) for quality in LEVEL_QUALITIES}
        for spec in _restoring(specs, scale):
            upscale, cells = model_upscale(Session.bundled(spec)), []
            for quality in LEVEL_QUALITIES:
                if quality in LEVEL_RANGES[spec.restore]:
                    found = gains(upscale, cases[quality], scale, spec.colours)
                    cells.append(f" {np.mean(found):+.2f} ({min(found):+.2f}) ")
                else:
                    cells.append(" ")
            lines.append(f"| ×{scale} `{spec.restore}`, {spec.colour} |" + "|".join(cells) + "|")
    return "\n".join(lines)


def films_table(folder: Path, specs: tuple[ModelSpec, ...]) -> str:
    """What the ×2 luma networks gain over bicubic in dB on films, by x264's crf."""
    lines = ["| level | " + " | ".join(f"crf {crf}" for crf in CRFS) + " |", "|---|" + "---|" * len(CRFS)]
    pictures = [read_colour(path) for path in sorted(folder.rglob("*.png"))]
    cases = {crf: film_cases(pictures, 2, crf) for crf in CRFS}
    clean = [spec for spec in specs if _is_clean_int8(spec) and spec.scale == 2]
    for spec in [*clean, *_restoring(specs, 2)]:
        if spec.colour == "luma":
            upscale = model_upscale(Session.bundled(spec))
            cells = [f"{np.mean(film_gains(upscale, cases[crf], 2)):+.2f}" for crf in CRFS]
            name = "clean" if spec.restore == "off" else f"`{spec.restore}`"
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _restoring(specs: tuple[ModelSpec, ...], scale: int) -> list[ModelSpec]:
    """The int8 networks for compressed sources at ``scale``."""
    chosen = [spec for spec in specs if spec.scale == scale and spec.restore in LEVEL_RANGES]
    return [spec for spec in chosen if spec.precision == "int8"]


def psnr_table(specs: tuple[ModelSpec, ...]) -> str:
    """PSNR by model, as the manifest has it."""
    sets = sorted({name for spec in specs for name in spec.psnr}, key=lambda name: (len(name), name))
    lines = ["| model | " + " | ".join(sets) + " | parameters | MAC per pixel | bytes |"]
    lines.append("|---|" + "---|" * (len(sets) + 3))
    for spec in specs:
        scores = " | ".join(f"{spec.psnr[name]:.2f}" for name in sets)
        size = spec.path.stat().st_size
        lines.append(f"| `{spec.name}` | {scores} | {spec.parameters:,} | {spec.macs:,} | {size:,} |")
    return "\n".join(lines)


def planes_table(folder: Path, specs: tuple[ModelSpec, ...]) -> str:
    """PSNR in dB of the int8 models on the Y′ planes of each set in ``folder``."""
    sets = sorted(
        (path for path in folder.iterdir() if path.is_dir()), key=lambda path: (len(path.name), path)
    )
    lines = ["| Y′ planes | " + " | ".join(f"{path.name} rgb | {path.name} luma" for path in sets) + " |"]
    lines.append("|---|" + "---|---|" * len(sets))
    models = {(spec.scale, spec.colour): spec for spec in specs if _is_clean_int8(spec)}
    for scale in (2, 3, 4):
        pair = [models[scale, "rgb"], models[scale, "luma"]]
        runs = [(model_upscale(Session.bundled(spec)), spec.colours) for spec in pair]
        cells = [f"{score_planes(run, path, scale, colours):.2f}" for path in sets for run, colours in runs]
        lines.append(f"| ×{scale} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _is_clean_int8(spec: ModelSpec) -> bool:
    return spec.precision == "int8" and spec.restore == "off"


def sources_table(manifest: Path) -> str:
    """Every source of training pictures with its licence, revision and how much was taken."""
    with manifest.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))

    def key(row: dict[str, str]) -> tuple[str, str, str]:
        licence = row["licence"].removeprefix("debian/copyright: ").rstrip(":")
        return row["source_repo"], row["commit"][:12], licence

    patches = Counter(key(row) for row in rows)
    files = Counter(source for source, _ in {(key(row), row["path"]) for row in rows})
    lines = ["| source | revision | licence, as stated there | pictures | patches |", "|---|---|---|---|---|"]
    for source in sorted(patches):
        repository, revision, licence = source
        link = f"[{repository}](https://github.com/{repository})"
        lines.append(f"| {link} | `{revision}` | {licence} | {files[source]} | {patches[source]} |")
    return "\n".join(lines)


def draw_crops(folder: Path, names: list[str], target: Path, scale: int = 3, side: int = 64) -> None:
    """Original, bicubic and int8 rgb side by side, one row per held-out picture, pixels enlarged ×2."""
    rows = []
    for name in names:
        original = read_colour(folder / name)
        original = original[: original.shape[0] // scale * scale, : original.shape[1] // scale * scale]
        low = shrink(original, scale)
        bicubic = to_uint8(imresize(low, *original.shape[:2]))
        answer = Upscaler(scale)(low)
        top, left = ((length - side * 2) // 2 for length in original.shape[:2])
        parts = [p[top : top + side * 2, left : left + side * 2] for p in (original, bicubic, answer)]
        large = [cv2.resize(part, None, fx=2, fy=2, interpolation=cv2.INTER_NEAREST) for part in parts]
        rows.append(np.hstack(large))
    header = np.full((36, rows[0].shape[1], 3), 255, dtype=np.uint8)
    for index, title in enumerate(("original", "bicubic", "xlsr int8")):
        place = (12 + index * side * 4, 25)
        cv2.putText(header, title, place, cv2.FONT_HERSHEY_SIMPLEX, 0.7, (0, 0, 0), 2, cv2.LINE_AA)
    cv2.imwrite(str(target), np.vstack([header, *rows]))


def replace_between(text: str, marker: str, content: str) -> str:
    """``text`` with what stands between ``<!-- marker -->`` and ``<!-- /marker -->`` replaced."""
    pattern = re.compile(rf"(<!-- {marker} -->\n).*?(<!-- /{marker} -->)", re.DOTALL)
    return pattern.sub(lambda match: f"{match[1]}{content}\n{match[2]}", text)


def main() -> None:
    """Measure and rewrite the card."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--eval", type=Path, required=True, help="folder that holds Set5, Set14 …")
    parser.add_argument("--manifest", type=Path, required=True, help="manifest.csv of the pictures")
    parser.add_argument("--models", type=Path, default=Path("models"))
    parser.add_argument("--crops", type=Path, default=Path("docs/pictures/model_card.png"))
    arguments = parser.parse_args()
    card = arguments.models / "MODEL_CARD.md"
    text = card.read_text(encoding="utf-8")
    specs = read_manifest(arguments.models)
    text = replace_between(text, "psnr", psnr_table(specs))
    text = replace_between(text, "planes", planes_table(arguments.eval, specs))
    text = replace_between(text, "sources", sources_table(arguments.manifest))
    text = replace_between(text, "jpeg", jpeg_table(arguments.eval))
    text = replace_between(text, "levels", levels_table(arguments.eval, specs))
    text = replace_between(text, "films", films_table(arguments.eval, specs))
    card.write_text(text, encoding="utf-8")
    arguments.crops.parent.mkdir(parents=True, exist_ok=True)
    draw_crops(arguments.manifest.parent, CROPS, arguments.crops)


if __name__ == "__main__":
    main()
