"""A photograph of 24 megapixels to 96: peak memory, and time per megapixel beside a small one's.

``python -m benchmarks.memory [--pictures FOLDER]``; with ``--write`` into docs/performance.md. The
photograph is a collage of the pictures in the folder. Without a folder, it is a synthetic picture that codecs
find as hard.
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.harness import machine_line, parser, publish, table
from xlsr_cli.bench.noise import Noise
from xlsr_cli.bench.pictures import made_picture
from xlsr_cli.formats import format_for
from xlsr_cli.options import Size

Pixels = NDArray[Any]

LARGE, SMALL = Size(width=6000, height=4000), Size(width=1732, height=1155)
_ROUNDS = 3
#: Formats of the source and of the result.
_WAYS = ((".jpg", ".jpg"), (".jpg", ".png"), (".png", ".png"), (".tif", ".tif"))
_SHOWN = {".jpg": "JPEG", ".png": "PNG", ".tif": "TIFF"}
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


def photograph(size: Size, folder: Path | None) -> Pixels:
    """A picture of ``size``: uint8 BGR, squares from the pictures in ``folder``, or from a synthetic one."""
    squares = [_square(path) for path in _files(folder)] or [made_picture(Size(width=1000, height=1000))]
    side = min(len(square) for square in squares)
    answer = np.empty((size.height, size.width, 3), np.uint8)
    places = itertools.product(range(0, size.height, side), range(0, size.width, side))
    for (top, left), square in zip(places, itertools.cycle(squares), strict=False):
        room = answer[top : top + side, left : left + side]
        room[...] = square[: room.shape[0], : room.shape[1]]
    return answer


#: Pictures in a collage, and the pixels a side of each.
_MOST_SQUARES, _SQUARE = 400, 288


def _files(folder: Path | None) -> list[Path]:
    if folder is None or not folder.is_dir():
        return []
    found = [path for path in sorted(folder.rglob("*")) if format_for(path.name) is not None]
    return found[:_MOST_SQUARES]


def _square(path: Path) -> Pixels:
    """The middle of a picture, or all of it where that is smaller."""
    picture = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None, f"{path} is no picture"
    side = min(_SQUARE, *picture.shape[:2])
    top, left = (picture.shape[0] - side) // 2, (picture.shape[1] - side) // 2
    return np.ascontiguousarray(picture[top : top + side, left : left + side])


def main(options: argparse.Namespace) -> None:
    """Measure, print, and write where it is asked for."""
    rows, verdicts = [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for extension, target in _WAYS:
            way = f"{_SHOWN[extension]} → ×2 {_SHOWN[target]}"
            rates = {}
            for size in (SMALL, LARGE):
                source = folder / f"{size}{extension}"
                if not source.exists():
                    source.write_bytes(
                        cv2.imencode(extension, photograph(size, options.pictures))[1].tobytes()
                    )
                found = [run(source, folder / f"out{target}") for _ in range(_ROUNDS)]
                peak = max(peak for peak, _ in found)
                rates[size] = min(seconds for _, seconds in found) / (size.pixels / 1e6)
                arrays = size.pixels * 3 * 5
                numbers = (peak / 1e6, arrays / 1e6, (peak - arrays) / 1e6)
                rows.append(
                    [f"{size} {way}", *(f"{number:.0f}" for number in numbers), f"{rates[size] * 1e3:.1f}"]
                )
            verdicts.append(f"{rates[LARGE] / rates[SMALL]:.2f} ({way})")
    head = ["picture", "peak, MB", "decoded input + output, MB", "beyond them, MB", "ms per input MP"]
    text = "\n".join(
        [
            machine_line(options.threads),
            "",
            table(head, rows),
            "",
            f"A megapixel of the large one takes so many times what one of the small one takes: "
            f"{', '.join(verdicts)}.",
        ]
    )
    publish("memory", text, Noise(other_cores=None, reasons=()), options)


def _parser() -> argparse.ArgumentParser:
    options = parser(__doc__)
    options.add_argument("--pictures", type=Path, help="a folder whose pictures make up the photograph")
    return options


if __name__ == "__main__":
    main(_parser().parse_args())
