"""How fast the before/after page redraws a large pair, and how large its file is.

``python -m benchmarks.page``: 4000×3000 in headless Chromium, the divider dragged, in the fitted view and
at 100 %; reading a pixel back after each drawing waits until it is really done.
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path

import cv2
import numpy as np

from tests.quality.chromium import Tab, browser
from xlsr_cli.quality.page import PagePair, PagePicture, write_page

_DRAW = """(() => { const began = performance.now(); draw();
    context.getImageData(0, 0, 1, 1); return performance.now() - began; })()"""
_STEPS = 60


def write_large(folder: Path) -> tuple[Path, int]:
    """A page about two pictures of 12 megapixels; also how many bytes they have."""
    coarse = np.random.default_rng(3).integers(0, 256, (94, 126, 3), dtype=np.uint8)
    picture = cv2.resize(coarse, (4000, 3000), interpolation=cv2.INTER_CUBIC)
    sides = [
        PagePicture(data=cv2.imencode(".png", pixels)[1].tobytes(), kind="image/png", label=label)
        for pixels, label in ((picture, "before"), (255 - picture, "after"))
    ]
    page = folder / "page.html"
    write_page(page, [PagePair(before=sides[0], after=sides[1], name="large")], title="large")
    return page, sum(len(side.data) for side in sides)


def redraws(tab: Tab) -> list[float]:
    """Milliseconds of each redraw while the divider is dragged across half of the window."""
    box = tab.run(
        "(() => { const b = view.getBoundingClientRect(); return [b.left, b.top, b.width, b.height] })()"
    )
    x, y = box[0] + box[2] / 2, box[1] + box[3] / 2
    tab.run("divider = 0.5")
    tab.mouse("mousePressed", x, y)
    times = []
    for step in range(_STEPS):
        tab.mouse("mouseMoved", x + step * box[2] / 2 / _STEPS, y, buttons=1)
        times.append(float(tab.run(_DRAW)))
    tab.mouse("mouseReleased", x, y)
    return times


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as name, browser(Path(name) / "profile") as tab:
        page, pictures = write_large(Path(name))
        tab.open(page, 1280, 900)
        for key, view in (("0", "fitted"), ("1", "at 100 %")):
            tab.key(key)
            times = redraws(tab)
            print(f"{view}: median {statistics.median(times):.1f} ms, longest {max(times):.1f} ms")
        print(f"file: {page.stat().st_size / pictures:.3f} times the two pictures")


if __name__ == "__main__":
    main()
