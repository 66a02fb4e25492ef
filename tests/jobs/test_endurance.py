"""Thousands of files in one process: the last ones take as long, and as much memory, as the first.

``XLSR_TEST_FILES`` says how many; 20,000 find what grows by a little with each file.
"""

from __future__ import annotations

import gc
import io
import logging
import os
import statistics
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from xlsr_cli.engine.upscaler import Upscaler
from xlsr_cli.jobs.batch.compute import Computed, compute, place
from xlsr_cli.jobs.batch.item import Item, ItemResult
from xlsr_cli.jobs.batch.job import Job
from xlsr_cli.jobs.batch.recipe import recipe_for
from xlsr_cli.options import PictureOptions, VideoOptions

_FILES = int(os.environ.get("XLSR_TEST_FILES", "2000"))


def pictures() -> dict[str, bytes]:
    """A small picture of every kind that is read, damaged and animated ones among them."""
    pixels = np.random.default_rng(0).integers(0, 255, (10, 12, 3), np.uint8)
    image, alpha = Image.fromarray(pixels), Image.fromarray(np.dstack([pixels, pixels[..., 0]]))
    made = {}
    for name, kind, picture, options in (
        ("a.png", "PNG", alpha, {"dpi": (72, 72)}),
        ("b.jpg", "JPEG", image, {"comment": b"words"}),
        ("c.webp", "WEBP", alpha, {}),
        ("d.avif", "AVIF", image, {}),
        ("e.tif", "TIFF", image, {"compression": "tiff_lzw"}),
        ("f.jp2", "JPEG2000", image, {}),
        ("g.bmp", "BMP", image, {}),
        ("h.ppm", "PPM", image, {}),
        ("i.gif", "GIF", image, {}),
        ("j.ico", "ICO", image, {"sizes": [(12, 10)]}),
    ):
        file = io.BytesIO()
        picture.save(file, kind, **options)
        made[name] = file.getvalue()
    for name, kind in (("k.gif", "GIF"), ("l.png", "PNG"), ("m.webp", "WEBP")):
        file = io.BytesIO()
        frames = [image.rotate(90 * turn).resize(image.size) for turn in range(3)]
        frames[0].save(file, kind, save_all=True, append_images=frames[1:], duration=50)
        made[name] = file.getvalue()
    return made | {f"cut_{name}": data[: len(data) * 2 // 3] for name, data in made.items()}


def state() -> dict[str, int]:
    """What grows where something is forgotten to be let go of."""
    gc.collect()
    loggers = [logging.getLogger(name) for name in logging.root.manager.loggerDict] + [logging.root]
    return {
        "handlers": sum(len(logger.handlers) + len(logger.filters) for logger in loggers),
        "modules": len(sys.modules),
        "threads": threading.active_count(),
        "descriptors": len(list(Path("/proc/self/fd").iterdir())) if sys.platform == "linux" else 0,
        "objects": len(gc.get_objects()) // 1000,
    }


def resident() -> int:
    """Bytes."""
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
def test_nothing_grows_with_the_number_of_files(tmp_path: Path) -> None:
    made = pictures()
    for name, data in made.items():
        (tmp_path / name).write_bytes(data)
    options = PictureOptions(overwrite=True)
    upscaler, recipe = (
        Upscaler.from_options(options.engine, options.target),
        recipe_for(options, VideoOptions()),
    )
    items = [
        Item(job=Job(folder=tmp_path, name=name, out=tmp_path / "out", target=f"{name}.png"), known=None)
        for name in made
    ]

    def work(item: Item) -> ItemResult:
        computed = compute(item, recipe, upscaler)
        return place(computed) if isinstance(computed, Computed) else computed

    outcomes = [work(item).outcome for item in items for _ in range(3)]
    assert outcomes.count("done") >= len(items)
    rounds = max(20, _FILES // len(items))
    seconds, memory, states = [], [], []
    for _ in range(rounds):
        started = time.process_time()
        for item in items:
            work(item)
        seconds.append(time.process_time() - started)
        memory.append(resident())
        states.append(state())
    tenth = max(3, rounds // 10)
    assert states[-1] == pytest.approx(states[0], abs=1)
    assert statistics.median(seconds[-tenth:]) < 1.4 * statistics.median(seconds[:tenth])
    assert memory[-1] - memory[rounds // 4] < 16 << 20
