"""Add to the site what the page "Try it" needs: the browser's runtime, from npm, and the networks.

``mkdocs.yml`` names this file; MkDocs calls :func:`on_post_build`.
"""

from __future__ import annotations

import json
import logging
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
#: Files of onnxruntime-web: its WebAssembly build, and the script that loads it.
RUNTIME = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")

log = logging.getLogger("mkdocs.hooks.web")


class NoRuntime(Exception):
    """onnxruntime-web cannot be had; the message says why."""


def on_post_build(config: Any) -> None:
    """Put runtime and networks beside the page "Try it"; without npm the page says what it lacks."""
    folder = Path(config["site_dir"]) / "try"
    copy_models(folder)
    try:
        copy_runtime(folder)
    except NoRuntime as error:
        log.info("the page 'Try it' will not work: %s", error)


def copy_runtime(folder: Path) -> None:
    """onnxruntime-web as package-lock.json pins it, into ``folder``/ort.

    Raises :class:`NoRuntime` where npm is missing or fails.
    """
    source = HERE / "node_modules" / "onnxruntime-web"
    if not source.is_dir():
        install()
    target = folder / "ort"
    target.mkdir(parents=True, exist_ok=True)
    for name in RUNTIME:
        shutil.copyfile(source / "dist" / name, target / name)


def install() -> None:
    """``npm ci`` in this folder. Raises :class:`NoRuntime` where that fails."""
    npm = shutil.which("npm")
    if npm is None:
        raise NoRuntime("npm is not installed")
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    done = subprocess.run(command, cwd=HERE, capture_output=True, text=True)
    if done.returncode:
        raise NoRuntime(f"npm ci failed: {done.stderr.strip()}")


def copy_models(folder: Path) -> None:
    """Copy the int8 networks into ``folder``, with what the page has to know of each."""
    if str(ROOT / "src") not in sys.path:
        sys.path.insert(0, str(ROOT / "src"))
    from xlsr_cli.engine.models import read_manifest

    (folder / "models").mkdir(parents=True, exist_ok=True)
    described = []
    for spec in read_manifest(ROOT / "models"):
        if spec.precision != "int8":
            continue
        shutil.copyfile(spec.path, folder / "models" / spec.path.name)
        described.append(
            {
                "name": spec.name,
                "file": spec.path.name,
                "scale": spec.scale,
                "colours": spec.colours,
                "restore": spec.restore,
                "channels": spec.input_channels,
                "halo": spec.halo,
                "golden": spec.golden,
            }
        )
    (folder / "models.json").write_text(json.dumps(described, indent=1) + "\n", encoding="utf-8")
