"""Thousands of files in one process: the last ones take as long, and as much memory, as the first.

``XLSR_TEST_FILES`` says how many; 20,000 find what grows by a little with each file.
"""

from __future__ import annotations

import gc
import io
import logging
import os
import shutil
import statistics
import struct
import sys
import threading
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from xlsr_cli.cli.app import main
from xlsr_cli.engine.upscaler import Upscaler
from xlsr_cli.jobs.batch.compute import Computed, compute, place
from xlsr_cli.jobs.batch.item import Item, ItemResult
from xlsr_cli.jobs.batch.job import Job
from xlsr_cli.jobs.batch.recipe import recipe_for
from xlsr_cli.options import EngineOptions, PictureOptions, VideoOptions

_FILES = int(os.environ.get("XLSR_TEST_FILES", "2000"))


def pictures() -> dict[str, bytes]:
    """A small picture of every kind that is read, damaged and animated ones among them."""
    pixels = np.random.default_rng(0).integers(0, 255, (10, 12, 3), np.uint8)
    image, alpha = Image.fromarray(pixels), Image.fromarray(np.dstack([pixels, pixels[..., 0]]))
    made = {
        "n.sun": struct.pack(">8I", 0x59A66A95, 12, 10, 24, 360, 1, 0, 0) + pixels.tobytes(),
        "n.psd": b"8BPS\0\1" + struct.pack(">6xHIIHH14x", 3, 10, 12, 8, 3) + pixels.tobytes(),
        "n.xpm": b'/* XPM */\nstatic char *a[] = {\n"2 1 2 1",\n"a c #000000",\n"b c #ffffff",\n"ab"\n};\n',
    }
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
        *((f"n.{plugin.lower()}", plugin, image, {}) for plugin in ("PCX", "QOI", "SGI", "TGA", "DDS")),
        ("n.xbm", "XBM", image.convert("1"), {}),
        ("n.cur", "ICO", image, {"sizes": [(12, 10)], "bitmap_format": "bmp"}),
        ("n.icns", "PNG", alpha.resize((16, 16)), {}),
    ):
        file = io.BytesIO()
        picture.save(file, kind, **options)
        made[name] = file.getvalue()
    made["n.cur"] = made["n.cur"][:2] + b"\2" + made["n.cur"][3:]
    icon = b"icp4" + struct.pack(">I", 8 + len(made["n.icns"])) + made["n.icns"]
    made["n.icns"] = b"icns" + struct.pack(">I", 8 + len(icon)) + icon
    if find_spec("pillow_heif"):
        from pillow_heif import from_pillow

        file = io.BytesIO()
        from_pillow(alpha.resize((64, 64))).save(file)
        made["o.heic"] = file.getvalue()
    if find_spec("pillow_jxl"):
        import pillow_jxl

        file = io.BytesIO()
        assert pillow_jxl
        alpha.save(file, "JXL")
        made["o.jxl"] = file.getvalue()
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
    # With the CPU alone: after some work the engine looks for a faster runtime, once, and loads that.
    options = PictureOptions(overwrite=True, engine=EngineOptions(provider="cpu"))
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
    modules: set[str] = set()
    for number in range(rounds):
        started = time.process_time()
        for item in items:
            work(item)
        seconds.append(time.process_time() - started)
        memory.append(resident())
        states.append(state())
        modules = set(sys.modules) if number == 0 else modules
    tenth = max(3, rounds // 10)
    first, last = (statistics.median(part) / len(items) for part in (seconds[:tenth], seconds[-tenth:]))
    print(
        f"{rounds * len(items)} files, {1000 * first:.2f} to {1000 * last:.2f} s a thousand, "
        f"{memory[0] >> 20} to {memory[-1] >> 20} MB"
    )
    assert states[-1] == pytest.approx(states[0], abs=1), set(sys.modules) - modules
    assert last < 1.4 * first
    assert memory[-1] - memory[rounds // 4] < 16 << 20


#: Copies of each file in one folder.
_COPIES = 12


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
def test_nothing_grows_with_the_number_of_batches(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same through plan, journal, executor and report, batch after batch in this process."""
    made = pictures()
    folder = tmp_path / "in"
    folder.mkdir()
    for copy in range(_COPIES):
        for name, data in made.items():
            (folder / f"{copy}_{name}").write_bytes(data)
    rounds = max(4, _FILES // 2 // (len(made) * _COPIES))
    seconds, memory = [], []
    for number in range(rounds + 1):
        out = tmp_path / f"out{number % 2}"
        started = time.process_time()
        alone = ["--jobs", "0", "--threads", "1", "--provider", "cpu", "--quiet"]
        done = main(["batch", str(folder), "--out", str(out), *alone])
        assert done == 7  # the cut ones failed
        seconds.append(time.process_time() - started)
        memory.append(resident())
        capsys.readouterr()
        assert len(list(out.iterdir())) > len(made) * _COPIES // 2
        shutil.rmtree(out)
    tenth = max(1, rounds // 10)
    report = f"{seconds[1]:.1f} to {seconds[-1]:.1f} s, {memory[1] >> 20} to {memory[-1] >> 20} MB"
    assert min(seconds[-tenth - 1 :]) < 1.4 * min(seconds[1 : 2 + tenth]), report
    assert memory[-1] - memory[1 + rounds // 4] < 16 << 20, report
    print(report)
