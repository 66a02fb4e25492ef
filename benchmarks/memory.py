"""A photograph of 24 megapixels to 96: peak memory, and time per megapixel beside a small one's.

``python -m benchmarks.memory``; with ``--write`` into docs/performance.md.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np

from benchmarks.harness import machine_line, parser, publish, table
from xlsr_cli.bench.noise import Noise
from xlsr_cli.bench.pictures import made_picture
from xlsr_cli.options import Size

LARGE, SMALL = Size(width=6000, height=4000), Size(width=1732, height=1155)
_ROUNDS = 3
#: Runs the command in a process of its own and prints its peak memory and the result.
_CHILD = """
import contextlib, io, json, sys
from xlsr_cli.bench.memory import peak_memory
from xlsr_cli.cli.app import main
said = io.StringIO()
with contextlib.redirect_stdout(said):
    assert main(["upscale", *sys.argv[1:], "--overwrite", "--json"]) == 0
# Not getrusage's maximum: a new process inherits that of the one which started it.
print(json.dumps({"peak": peak_memory(), "seconds": json.loads(said.getvalue())["seconds"]}))
"""


def run(source: Path, target: Path) -> tuple[int, float]:
    """Peak resident bytes, and seconds of decoding, inference and encoding together."""
    done = subprocess.run(
        [sys.executable, "-c", _CHILD, str(source), str(target)], capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout)
    return int(found["peak"]), float(sum(found["seconds"].values()))


def main(options: argparse.Namespace) -> None:
    """Measure, print, and write where it is asked for."""
    rows, rates, peaks = [], {}, {}
    with tempfile.TemporaryDirectory() as name:
        for size in (SMALL, LARGE):
            source = Path(name) / f"{size}.jpg"
            tile = made_picture(Size(width=1000, height=1000))
            pixels = np.tile(tile, (-(-size.height // 1000), -(-size.width // 1000), 1))
            pixels = np.ascontiguousarray(pixels[: size.height, : size.width])
            source.write_bytes(cv2.imencode(".jpg", pixels)[1].tobytes())
            found = [run(source, Path(name) / "out.jpg") for _ in range(_ROUNDS)]
            peaks[size] = max(peak for peak, _ in found)
            rates[size] = min(seconds for _, seconds in found) / (size.pixels / 1e6)
            arrays = size.pixels * 3 * 5
            rows.append(
                [
                    f"{size} JPEG → ×2 JPEG",
                    f"{peaks[size] / 1e6:.0f}",
                    f"{arrays / 1e6:.0f}",
                    f"{(peaks[size] - arrays) / 1e6:.0f}",
                    f"{rates[size] * 1e3:.1f}",
                ]
            )
    head = ["picture", "peak, MB", "decoded input + output, MB", "beyond them, MB", "ms per input MP"]
    text = "\n".join(
        [
            machine_line(options.threads),
            "",
            table(head, rows),
            "",
            f"A megapixel of the large one takes {rates[LARGE] / rates[SMALL]:.2f} times what one of the "
            "small one takes.",
        ]
    )
    publish("memory", text, Noise(other_cores=None, reasons=()), options)


if __name__ == "__main__":
    main(parser(__doc__).parse_args())
