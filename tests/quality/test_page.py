"""The before/after page in a real browser: it is dragged, zoomed, and its pixels are read back."""

from __future__ import annotations

import base64
import statistics
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from xlsr_cli.errors import OutputError, UsageError
from xlsr_cli.quality.page import (
    FilePair,
    PagePair,
    PagePicture,
    check_page,
    file_pairs,
    picture_file,
    write_page,
)

pytest.importorskip("websocket")

from benchmarks.page import redraws, write_large
from tests.quality.chromium import Tab, browser, find_chromium

pytestmark = pytest.mark.skipif(find_chromium() is None, reason="no Chromium is installed")

EVIL = "</script><script>alert(1)</script><b>ñ漢.png"
RED, BLUE = (0, 0, 255), (255, 0, 0)


def png(pixels: np.ndarray, label: str = "x") -> PagePicture:
    return PagePicture(data=cv2.imencode(".png", pixels)[1].tobytes(), kind="image/png", label=label)


def plain(width: int, height: int, bgr: tuple[int, int, int]) -> np.ndarray:
    return np.full((height, width, 3), bgr, np.uint8)


def checkers(width: int, height: int) -> np.ndarray:
    """Single pixels of black and white, but for a red one in the middle."""
    board = np.indices((height, width)).sum(axis=0) % 2 * 255
    picture = np.dstack([board] * 3).astype(np.uint8)
    picture[height // 2, width // 2] = RED
    return picture


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    with browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


def write(tmp_path: Path, *pairs: tuple[np.ndarray, np.ndarray], title: str = "page") -> Path:
    page = tmp_path / "page.html"
    made = [
        PagePair(
            before=png(a, "before"), after=png(b, "after"), name=f"{title} {n}", facts=[("PSNR", "31 dB")]
        )
        for n, (a, b) in enumerate(pairs)
    ]
    write_page(page, made, title=title)
    return page


def pixel(tab: Tab, x: float, y: float) -> list[int]:
    """R, G, B of the canvas at a share of its width and height."""
    script = f"""(() => {{ const c = document.getElementById("view");
        const at = [c.width * {x} | 0, c.height * {y} | 0, 1, 1];
        return [...c.getContext("2d").getImageData(...at).data].slice(0, 3);
    }})()"""
    return list(tab.run(script))


def middle(tab: Tab) -> tuple[float, float]:
    box = tab.run(
        "(() => { const b = view.getBoundingClientRect(); return [b.left, b.top, b.width, b.height] })()"
    )
    return box[0] + box[2] / 2, box[1] + box[3] / 2


def test_dragging_the_divider(tab: Tab, tmp_path: Path) -> None:
    tab.open(write(tmp_path, (plain(300, 200, RED), plain(300, 200, BLUE))))
    assert pixel(tab, 0.4, 0.5) == [255, 0, 0]
    assert pixel(tab, 0.6, 0.5) == [0, 0, 255]
    x, y = middle(tab)
    tab.drag((x, y), (x + 300, y))
    assert tab.run("divider") == pytest.approx(0.5 + 300 / (2 * (x - 16)), abs=0.01)
    assert pixel(tab, 0.6, 0.5) == [255, 0, 0]
    tab.key("Home")
    assert pixel(tab, 0.4, 0.5) == [0, 0, 255]
    tab.key("ArrowRight")
    assert tab.run("view.getAttribute('aria-valuenow')") == "1"


def test_zoom_shows_square_pixels_where_the_pointer_is(tab: Tab, tmp_path: Path) -> None:
    board = checkers(400, 300)
    tab.open(write(tmp_path, (board, board)))
    tab.key("Home")
    x, y = middle(tab)
    while tab.run("zoom") < 30:
        tab.mouse("mouseWheel", x + 2, y + 2, deltaX=0, deltaY=-300)
        tab.settle()
    seen = tab.run(
        """(() => { const c = view, d = c.getContext("2d").getImageData(0, 0, c.width, c.height).data;
        const found = {}; for (let i = 0; i < d.length; i += 4) {
            const k = [d[i], d[i + 1], d[i + 2]].join();
            found[k] = (found[k] || 0) + 1;
        } return found; })()"""
    )
    seen.pop("250,250,250", None)  # the divider's line, at the left edge
    pure = seen["0,0,0"] + seen["255,255,255"] + seen["255,0,0"]
    # Nothing between the colours of the picture: pixels are squares, not blurred.
    assert pure > 0.97 * sum(seen.values())
    side = tab.run("zoom")
    assert seen["255,0,0"] == pytest.approx(side * side, rel=0.15)


def test_a_small_picture_fits_by_a_whole_factor(tab: Tab, tmp_path: Path) -> None:
    """At any other zoom, some of its pixels would be wider than others."""
    tab.open(write(tmp_path, (checkers(130, 90), checkers(130, 90))))
    zoom = tab.run("zoom")
    assert zoom == int(zoom) > 1
    assert tab.run("size.height * (zoom + 1) > view.height || size.width * (zoom + 1) > view.width")


def test_both_sides_stay_together_when_moved(tab: Tab, tmp_path: Path) -> None:
    """The small picture is stretched to the large one's grid: the same place shows in the same place."""
    small = np.random.default_rng(1).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    large = np.repeat(np.repeat(small, 4, axis=0), 4, axis=1)
    tab.open(write(tmp_path, (small, large)))
    tab.key("1")
    x, y = middle(tab)
    tab.drag((x + 200, y + 40), (x + 120, y + 90))
    places = [(0.45, 0.5), (0.5, 0.55), (0.55, 0.45)]
    tab.key("Home")
    after = [pixel(tab, *place) for place in places]
    tab.key("End")
    assert [pixel(tab, *place) for place in places] == after


def test_the_difference_is_computed(tab: Tab, tmp_path: Path) -> None:
    before, after = plain(300, 200, (100, 100, 100)), plain(300, 200, (100, 100, 100))
    after[:, 150:] += 64
    tab.open(write(tmp_path, (before, after)))
    tab.key("d")
    assert tab.run("difference.getAttribute('aria-pressed')") == "true"
    assert pixel(tab, 0.4, 0.5) == [0, 0, 4]
    assert pixel(tab, 0.6, 0.5) == [252, 255, 164]
    tab.key("d")
    assert pixel(tab, 0.4, 0.5) == [100, 100, 100]


def test_next_and_previous(tab: Tab, tmp_path: Path) -> None:
    red, blue = plain(30, 20, RED), plain(30, 20, BLUE)
    tab.open(write(tmp_path, (red, red), (blue, blue)))
    assert tab.run("pairs.hidden") is False
    tab.key("n")
    tab.wait_for("document.documentElement.dataset.ready === '1'")
    tab.settle()
    assert pixel(tab, 0.6, 0.4) == [0, 0, 255]
    tab.key("p")
    tab.wait_for("document.documentElement.dataset.ready === '0'")
    tab.settle()
    assert pixel(tab, 0.6, 0.4) == [255, 0, 0]


def test_names_are_text(tab: Tab, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    side = png(plain(8, 8, RED), EVIL)
    write_page(page, [PagePair(before=side, after=side, name=EVIL, facts=[(EVIL, EVIL)])] * 2, title=EVIL)
    tab.open(page)
    assert tab.run("document.title") == EVIL
    assert tab.run("document.querySelector('h1').textContent") == EVIL
    assert tab.run("document.getElementById('name-after').textContent") == f"{EVIL} · 8×8"
    assert tab.run("document.querySelector('dd').textContent") == EVIL
    assert tab.run("document.querySelectorAll('b').length") == 0
    assert tab.run("pair.options[1].textContent") == EVIL


def test_it_asks_nothing_of_any_network(tab: Tab, tmp_path: Path) -> None:
    page = write(tmp_path, (plain(30, 20, RED), plain(30, 20, BLUE)))
    tab.events.clear()
    tab.open(page)
    tab.key("d")
    urls = [e["params"]["request"]["url"] for e in tab.events if e["method"] == "Network.requestWillBeSent"]
    assert [url for url in urls if not url.startswith(("blob:", "data:"))] == [page.as_uri()]
    problems = [e for e in tab.events if e["method"] in ("Runtime.exceptionThrown", "Log.entryAdded")]
    assert problems == []
    # Nor could it: the policy stops whatever would.
    stopped = tab.run("fetch('https://example.org').then(() => 'sent', () => 'stopped')")
    assert stopped == "stopped"


@pytest.mark.parametrize(("width", "height", "dark"), [(390, 844, False), (1000, 700, True)])
def test_it_fits_a_phone_and_the_dark(tab: Tab, tmp_path: Path, width: int, height: int, dark: bool) -> None:
    tab.open(write(tmp_path, (plain(300, 200, RED), plain(300, 200, BLUE))), width, height, dark=dark)
    assert tab.run("document.documentElement.scrollWidth") <= width
    assert tab.run("view.width") > 0.9 * width - 20
    ground = tab.run("getComputedStyle(document.body).backgroundColor")
    level = int(ground.removeprefix("rgb(").split(",")[0])
    assert level < 64 if dark else level > 192
    tab.screenshot(tmp_path / "page.png")
    assert cv2.imread(str(tmp_path / "page.png")).shape == (height, width, 3)


def test_pinching_zooms(tab: Tab, tmp_path: Path) -> None:
    tab.open(write(tmp_path, (checkers(300, 200), checkers(300, 200))), 390, 844)
    x, y = middle(tab)
    before = tab.run("zoom")

    def touch(kind: str, *points: tuple[float, float]) -> None:
        fingers = [{"x": px, "y": py, "id": n} for n, (px, py) in enumerate(points)]
        tab.call("Input.dispatchTouchEvent", type=kind, touchPoints=fingers)

    touch("touchStart", (x - 80, y), (x - 40, y))
    for apart in (60, 80, 100, 120):
        touch("touchMove", (x - 60 - apart / 2, y), (x - 60 + apart / 2, y))
    touch("touchEnd")
    assert tab.run("zoom") == pytest.approx(3 * before, rel=0.1)


def test_formats_that_browsers_do_not_show_become_png(tab: Tab, tmp_path: Path) -> None:
    deep = np.full((20, 30, 3), (0, 0, 65535), np.uint16)
    source = tmp_path / "deep.tif"
    source.write_bytes(cv2.imencode(".tif", deep)[1].tobytes())
    side = picture_file(source, "deep.tif")
    assert side.kind == "image/png"
    write_page(tmp_path / "page.html", [PagePair(before=side, after=side, name="deep")], title="deep")
    tab.open(tmp_path / "page.html")
    assert pixel(tab, 0.6, 0.4) == [255, 0, 0]


def test_an_existing_page_is_kept(tmp_path: Path) -> None:
    page = write(tmp_path, (plain(3, 2, RED), plain(3, 2, BLUE)))
    written = page.read_bytes()
    with pytest.raises(OutputError, match="exists"):
        write(tmp_path, (plain(3, 2, RED), plain(3, 2, RED)))
    assert page.read_bytes() == written


def test_pictures_are_embedded_as_they_are_and_once(tmp_path: Path) -> None:
    noise = np.random.default_rng(2).integers(0, 256, (700, 900, 3), dtype=np.uint8)
    sides = [noise, 255 - noise, noise // 2]
    data = [cv2.imencode(".png", side)[1].tobytes() for side in sides]
    page = write(tmp_path, (sides[0], sides[1]), (sides[0], sides[2]))
    written = page.read_bytes()
    assert [written.count(base64.b64encode(each)) for each in data] == [1, 1, 1]
    assert len(written) <= 1.36 * sum(map(len, data)) + 100_000


@pytest.mark.parametrize("name", ["page.png", "page"])
def test_a_page_has_the_name_of_a_page(tmp_path: Path, name: str) -> None:
    """Or ``--overwrite`` could put it in a picture's place."""
    with pytest.raises(UsageError, match=r"ends in \.html"):
        check_page(tmp_path / name, overwrite=True)


@pytest.mark.slow
def test_a_large_pair_is_redrawn_while_it_is_dragged(tab: Tab, tmp_path: Path) -> None:
    """4000×3000: it takes 3 ms, and 50 would still look like moving."""
    page, pictures = write_large(tmp_path)
    assert page.stat().st_size <= 1.36 * pictures + 100_000
    tab.open(page, 1280, 900)
    for view in ("0", "1"):
        tab.key(view)
        assert statistics.median(redraws(tab)) < 50


def test_pages_with_large_pictures_hold_previews(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sides keep their proportion, and the files themselves lie beside the page on request."""
    monkeypatch.setattr("xlsr_cli.quality.page._LARGE_PAGE", 100)
    monkeypatch.setattr("xlsr_cli.quality.page._PREVIEW_SIDE", 60)
    for name, side in (("small.png", 50), ("large.png", 200)):
        (tmp_path / name).write_bytes(cv2.imencode(".png", plain(side, side // 2, (9, 90, 200)))[1].tobytes())
    files = [FilePair(before=tmp_path / "small.png", after=tmp_path / "large.png", name="a")]
    page = tmp_path / "page.html"
    (pair,) = file_pairs(files, page, full=False)
    sizes = [
        cv2.imdecode(np.frombuffer(side.data, np.uint8), 1).shape[:2] for side in (pair.before, pair.after)
    ]
    assert sizes == [(8, 15), (30, 60)]
    assert pair.after.label == "after: large.png (200x100, preview)"
    assert not pair.links and not list(tmp_path.glob("*_files"))
    (pair,) = file_pairs(files, page, full=True)
    assert [address for _, address in pair.links] == ["page_files/1-before.png", "page_files/1-after.png"]
    for (_, address), name in zip(pair.links, ("small.png", "large.png"), strict=True):
        assert (tmp_path / address).read_bytes() == (tmp_path / name).read_bytes()
    write_page(page, [pair], title="t")
    assert "page_files/1-after.png" in page.read_text("utf-8")
