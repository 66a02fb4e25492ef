"""Time a whole process: a 256×256 PNG to ×2, beside the import of its libraries.

``python -m benchmarks.startup``; with ``--write`` into docs/performance.md. Processes take turns.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import cv2

from benchmarks.harness import machine_line, milliseconds, parser, publish, table
from benchmarks.pairs import Measured, side_by_side
from xlsr_cli.bench.pictures import made_picture
from xlsr_cli.engine.runtimes.plugins import PLUG_INS
from xlsr_cli.options import Size

_IMPORTS = "import cv2, onnxruntime"
#: The command line in a process that finds no module whose name begins as its first argument does.
_HIDING = """
import sys, importlib.util as util
hidden, find = sys.argv.pop(1), util.find_spec
util.find_spec = lambda name, *rest: None if name.startswith(hidden) else find(name, *rest)
from xlsr_cli.cli.app import main
sys.exit(main(sys.argv[1:]))
"""
#: The modules of an installed package are compiled; those of a checkout must not be compiled in each process.
_ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def main(options: argparse.Namespace) -> None:
    """Measure, print, and write where it is asked for."""
    with tempfile.TemporaryDirectory() as name:
        source, target = Path(name) / "in.png", Path(name) / "out.png"
        source.write_bytes(cv2.imencode(".png", made_picture(Size(width=256, height=256)))[1].tobytes())
        command = [sys.executable, "-m", "xlsr_cli"]
        runs = {
            f'`python -c "{_IMPORTS}"`': [sys.executable, "-c", _IMPORTS],
            "`xlsr upscale in.png out.png --overwrite`": [
                *(*command, "upscale", str(source), str(target), "--overwrite", "--quiet"),
            ],
            "`xlsr --help`": [*command, "--help"],
            '`python -c ""`': [sys.executable, "-c", ""],
        }
        measured = _measured(runs, options)
        beside = _beside_plug_ins(["upscale", str(source), str(target), "--overwrite", "--quiet"], options)
    labels = list(runs)
    rows = [[label, milliseconds(measured.timings[label]), str(measured.ratios[label])] for label in labels]
    text = [machine_line(options.threads), "", table(["whole process", "ms", "times the imports"], rows)]
    publish("startup", "\n".join([*text, *beside]), measured.noise, options)


def _measured(runs: dict[str, list[str]], options: argparse.Namespace) -> Measured:
    """Whole processes in pairs."""
    return side_by_side(
        {
            label: partial(subprocess.run, words, check=True, stdout=subprocess.DEVNULL, env=_ENVIRONMENT)
            for label, words in runs.items()
        },
        threads=options.threads,
        repeats=options.repeats,
        in_a_row=0,
    )


def _beside_plug_ins(arguments: list[str], options: argparse.Namespace) -> list[str]:
    """The time that installed plug-ins take; nothing where there are none."""
    if not all(row.is_installed for row in PLUG_INS):
        return []
    hiding = [sys.executable, "-c", _HIDING]
    runs = {
        "hidden": [*hiding, "onnxruntime_ep", *arguments],
        "installed": [*hiding, "no such module", *arguments],
    }
    ratio = _measured(runs, options).ratios["installed"]
    return [
        "",
        f"With the plug-in of OpenVINO installed, `xlsr upscale` takes {ratio} times as long as without.",
    ]


if __name__ == "__main__":
    main(parser(__doc__).parse_args())
