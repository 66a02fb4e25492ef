"""Print, as JSON, what this CPU makes of the golden pictures: run here, and under an emulated CPU.

``python tests/golden/answers.py --write`` stores the pictures' hashes in ``pictures.json``: run it when
models were trained anew, or when a change of the 8-bit path is meant to change pixels, and say so in the
commit.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from xlsr_cli.engine.golden import golden_hash, golden_input, golden_samples
from xlsr_cli.engine.golden_colour import colour_hash, golden_picture
from xlsr_cli.engine.models import bundled_models
from xlsr_cli.engine.session import Session
from xlsr_cli.engine.upscaler import Upscaler

PICTURES = Path(__file__).with_name("pictures.json")

#: Name → (color, scale, channels of the golden BGRA picture): every branch of the 8-bit path.
CASES: dict[str, tuple[str, float, slice | int]] = {
    "bgra rgb x2.5": ("rgb", 2.5, slice(0, 4)),
    "bgra ycbcr x2.5": ("ycbcr", 2.5, slice(0, 4)),
    "bgr rgb x2": ("rgb", 2.0, slice(0, 3)),
    "bgr ycbcr x3": ("ycbcr", 3.0, slice(0, 3)),
    "bgr rgb x4": ("rgb", 4.0, slice(0, 3)),
    "gray x6": ("rgb", 6.0, 1),
    "gray alpha x3.3": ("rgb", 3.3, slice(2, 4)),
}


def model_hashes() -> dict[str, str]:
    """Every int8 model's answer to its golden input."""
    return {
        spec.name: golden_hash(Session.bundled(spec).run(golden_input(spec)), spec)
        for spec in bundled_models()
        if spec.precision == "int8"
    }


def float_samples() -> dict[str, list[float]]:
    """Some values of every float32 model's answer."""
    return {
        spec.name: list(golden_samples(Session.bundled(spec).run(golden_input(spec))))
        for spec in bundled_models()
        if spec.precision == "fp32"
    }


def picture_hashes(threads: int = 1, tile: int | None = None) -> dict[str, str]:
    """Whole pictures through the whole engine: colour, chroma, alpha, several passes, fitting."""
    picture = golden_picture()
    hashes = {}
    for name, (color, scale, channels) in CASES.items():
        upscaler = Upscaler(scale, color=color, threads=threads, tile=tile)  # type: ignore[arg-type]
        answer = upscaler(np.ascontiguousarray(picture[..., channels]))
        hashes[name] = hashlib.sha256(repr(answer.shape).encode() + answer.tobytes()).hexdigest()
    return hashes


def used_models() -> dict[str, str]:
    """The files that the pictures' hashes depend on."""
    return {spec.name: spec.sha256 for spec in bundled_models() if spec.precision == "int8"}


def answers() -> dict[str, Any]:
    """Everything that a CPU is asked."""
    return {
        "models": model_hashes(),
        "floats": float_samples(),
        "colour": colour_hash(),
        "pictures": picture_hashes(),
    }


def main() -> None:
    """Print the answers, or store the pictures' hashes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="store the pictures' hashes")
    if parser.parse_args().write:
        stored = {"models": used_models(), "pictures": picture_hashes()}
        PICTURES.write_text(json.dumps(stored, indent=2) + "\n", encoding="utf-8")
        print(f"wrote {PICTURES}")
    else:
        print(json.dumps(answers()))


if __name__ == "__main__":
    main()
