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
from numpy.typing import NDArray

from xlsr_cli.engine.golden import golden_hash, golden_input, golden_samples
from xlsr_cli.engine.golden_colour import colour_hash, golden_picture
from xlsr_cli.engine.models import ModelSpec, bundled_models, load_bytes
from xlsr_cli.engine.runtimes.plugins import PLUG_INS, why_unusable
from xlsr_cli.engine.session import Session
from xlsr_cli.engine.upscaler import Upscaler

PICTURES = Path(__file__).with_name("pictures.json")
#: Networks from outside, in every form that is understood.
FOREIGN = Path(__file__).resolve().parents[1] / "fixtures" / "foreign"

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


#: Noise of these heights and widths: the smallest there is, and no multiples of any vector or block.
NOISE_SIZES = ((11, 11), (12, 77), (33, 129), (65, 17))


def model_hashes(provider: str = "cpu") -> dict[str, str]:
    """Every int8 model's answer to its golden input, by one runtime and no other."""
    return {
        spec.name: golden_hash(opened(spec, provider).run(golden_input(spec)), spec)
        for spec in bundled_models()
        if spec.precision == "int8"
    }


def noise_hashes(provider: str = "cpu") -> dict[str, str]:
    """Every int8 model's answers to noise of awkward sizes, by one runtime and no other."""
    hashes = {}
    for spec in bundled_models():
        if spec.precision == "int8":
            session = opened(spec, provider)
            answers = [golden_hash(session.run(tile), spec) for tile in noise(spec)]
            hashes[spec.name] = hashlib.sha256("".join(answers).encode()).hexdigest()
    return hashes


def noise(spec: ModelSpec) -> list[NDArray[np.uint8]]:
    """The input of each size for the int8 model ``spec``."""
    random = np.random.default_rng(spec.scale)
    return [
        random.integers(0, 256, (1, height, width, spec.input_channels), dtype=np.uint8)
        for height, width in NOISE_SIZES
    ]


def opened(spec: ModelSpec, provider: str) -> Session:
    """``spec`` in a runtime that computes all of it."""
    return Session(spec, load_bytes(spec), provider=provider, alone=True)


def plug_ins() -> list[str]:
    """The runtimes that can be used here beside onnxruntime's own."""
    return [row.name for row in PLUG_INS if row.is_installed and why_unusable(row) is None]


def foreign_differences(provider: str) -> dict[str, int]:
    """By how many levels a runtime differs from the CPU kernels in each form of a network from outside."""
    picture = np.ascontiguousarray(golden_picture()[..., :3])
    differences = {}
    for path in sorted(FOREIGN.glob("*.onnx")):
        here, there = (
            Upscaler(2, model=str(path), halo=3, provider=name)(picture).astype(int)  # type: ignore[arg-type]
            for name in ("cpu", provider)
        )
        differences[path.stem] = int(abs(here - there).max())
    return differences


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


def answers(*, with_plug_ins: bool = True) -> dict[str, Any]:
    """All answers of this CPU."""
    names = plug_ins() if with_plug_ins else []
    return {
        "models": model_hashes(),
        "noise": noise_hashes(),
        "plug-ins": {name: [model_hashes(name), noise_hashes(name)] for name in names},
        "foreign": {name: foreign_differences(name) for name in names},
        "floats": float_samples(),
        "colour": colour_hash(),
        "pictures": picture_hashes(),
    }


def main() -> None:
    """Print the answers, or store the pictures' hashes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="store the pictures' hashes")
    parser.add_argument("--no-plug-ins", action="store_true", help="ask onnxruntime's own kernels alone")
    options = parser.parse_args()
    if options.write:
        stored = {"models": used_models(), "pictures": picture_hashes()}
        PICTURES.write_text(json.dumps(stored, indent=2) + "\n", encoding="utf-8")
        print(f"wrote {PICTURES}")
    else:
        print(json.dumps(answers(with_plug_ins=not options.no_plug_ins)))


if __name__ == "__main__":
    main()
