"""The page that upscales in the browser: the same bytes as the command line, and nothing leaves it."""

from __future__ import annotations

import base64
import contextlib
import importlib.util
import json
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from urllib.parse import urlsplit

import cv2
import numpy as np
import pytest

from tests.golden.answers import noise
from tests.quality.chromium import Tab, browser, find_chromium
from xlsr_cli.engine.golden import golden_hash
from xlsr_cli.engine.models import bundled_models
from xlsr_cli.engine.session import Session
from xlsr_cli.engine.upscaler import Upscaler

ROOT = Path(__file__).resolve().parents[2]
INT8 = [spec for spec in bundled_models() if spec.precision == "int8"]


def load_hooks() -> ModuleType:
    spec = importlib.util.spec_from_file_location("web_hooks", ROOT / "tools" / "web" / "hooks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


hooks = load_hooks()


class Handler(SimpleHTTPRequestHandler):
    """Serves a folder without a word."""

    extensions_map = SimpleHTTPRequestHandler.extensions_map | {".wasm": "application/wasm"}

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The built site's address."""
    mkdocs = pytest.importorskip("mkdocs.commands.build", reason="MkDocs is not installed (--group docs)")
    from mkdocs.config import load_config

    folder = tmp_path_factory.mktemp("site")
    mkdocs.build(load_config(str(ROOT / "mkdocs.yml"), site_dir=str(folder)))
    try:
        hooks.copy_runtime(folder / "try")
    except hooks.NoRuntime as error:
        pytest.skip(f"onnxruntime-web is not there: {error}")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def tab(site: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    """A browser that shows the page."""
    if find_chromium() is None:
        pytest.skip("Chromium is not installed (Debian: chromium)")
    with browser(tmp_path_factory.mktemp("profile")) as tab:
        tab.visit(f"{site}/try/", "document.getElementById('xlsr-try')?.dataset.state === 'waiting'")
        yield tab


def photo(height: int, width: int) -> np.ndarray:
    """Noise on waves, BGR: every tile differs, and no side is a multiple of anything."""
    rows, columns, channels = np.ogrid[0:height, 0:width, 0:3]
    waves = 128 + 60 * np.sin(rows / 9 + channels) + 40 * np.cos(columns / 7)
    noise = np.random.default_rng(5).integers(-25, 26, (height, width, 3))
    return np.clip(waves + noise, 0, 255).astype(np.uint8)


def enlarged(tab: Tab, file: Path, scale: int) -> np.ndarray:
    """The picture that the page offers to save for ``file``."""
    tab.run("document.getElementById('xlsr-try').dataset.state = 'new'")
    tab.run(f"document.querySelector('[data-part=scale]').value = '{scale}'")
    tab.choose("[data-part=file]", file)
    tab.wait_for("['done', 'failed'].includes(document.getElementById('xlsr-try').dataset.state)", 120)
    encoded = tab.run(
        "fetch(document.querySelector('[data-part=save]').href).then(answer => answer.blob()).then(blob =>"
        " new Promise(done => { const reader = new FileReader();"
        " reader.onload = () => done(reader.result.split(',')[1]); reader.readAsDataURL(blob); }))"
    )
    content = np.frombuffer(base64.b64decode(encoded), np.uint8)
    return np.asarray(cv2.imdecode(content, cv2.IMREAD_UNCHANGED))


@pytest.mark.slow
def test_every_int8_model_gives_its_golden_hash(tab: Tab) -> None:
    hashes = tab.run(
        "import('./engine.js').then(async ({Pool, goldenHash, loadModels}) => {"
        " const pool = new Pool(2); const found = {};"
        " for (const model of await loadModels()) found[model.name] = await goldenHash(pool, model);"
        " return found; })"
    )
    assert hashes == {spec.name: spec.golden for spec in INT8}


@pytest.mark.slow
def test_noise_of_awkward_sizes_gives_the_bytes_of_the_cpu(tab: Tab) -> None:
    given, expected = [], []
    for spec in INT8:
        session = Session.bundled(spec)
        for tile in noise(spec):
            content = base64.b64encode(tile.tobytes()).decode()
            given.append([spec.name, content, tile.shape[1], tile.shape[2]])
            expected.append(golden_hash(session.run(tile), spec))
    found = tab.run(
        "import('./engine.js').then(async ({Pool, answerHash, loadModels}) => {"
        " const pool = new Pool(2); const hashes = []; const models = await loadModels();"
        f" for (const [name, content, height, width] of {json.dumps(given)}) {{"
        "  const tile = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));"
        "  const model = models.find((each) => each.name === name);"
        "  hashes.push(await answerHash(pool, model, tile, height, width)); }"
        " return hashes; })"
    )
    assert found == expected


@pytest.mark.slow
@pytest.mark.parametrize(("scale", "height", "width"), [(2, 131, 150), (3, 90, 61), (4, 1, 40)])
def test_a_picture_has_the_bytes_of_the_command_line(
    tab: Tab, tmp_path: Path, scale: int, height: int, width: int
) -> None:
    pixels = photo(height, width)
    file = tmp_path / "photo.png"
    cv2.imwrite(str(file), pixels)
    found = enlarged(tab, file, scale)
    if found.shape[2] == 4:
        assert found[..., 3].min() == 255
        found = found[..., :3]
    np.testing.assert_array_equal(found, Upscaler(scale, color="rgb", restore="off")(pixels))


@pytest.mark.slow
def test_what_is_no_picture_is_one_sentence(tab: Tab, tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("no picture", encoding="utf-8")
    tab.choose("[data-part=file]", file)
    tab.wait_for("document.querySelector('[data-part=status]').textContent.includes('cannot read notes.txt')")


@pytest.mark.slow
def test_nothing_leaves_the_browser(tab: Tab, site: str, tmp_path: Path) -> None:
    """Every request goes to the site itself, and none has a body."""
    file = tmp_path / "secret.png"
    cv2.imwrite(str(file), photo(20, 30))
    enlarged(tab, file, 2)
    requests = [
        event["params"]["request"] for event in tab.events if event["method"] == "Network.requestWillBeSent"
    ]
    assert requests
    hosts = {
        urlsplit(request["url"]).netloc
        for request in requests
        if urlsplit(request["url"]).scheme not in ("blob", "data")
    }
    assert hosts == {urlsplit(site).netloc}
    assert not [request["url"] for request in requests if request["method"] != "GET"]


def test_the_runtime_is_pinned() -> None:
    """An exact version, in both files, and a hash of every package."""
    wanted = json.loads((hooks.HERE / "package.json").read_text("utf-8"))["dependencies"]
    locked = json.loads((hooks.HERE / "package-lock.json").read_text("utf-8"))["packages"]
    for name, version in wanted.items():
        assert locked[f"node_modules/{name}"]["version"] == version
    assert all(package["integrity"].startswith("sha512-") for path, package in locked.items() if path)


def test_without_npm_the_site_is_built_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(hooks, "HERE", tmp_path)
    monkeypatch.setattr(hooks.shutil, "which", lambda name: None)
    with caplog.at_level("INFO"), contextlib.suppress(KeyError):
        hooks.on_post_build({"site_dir": str(tmp_path / "site")})
    assert "npm is not installed" in caplog.text
    assert len(json.loads((tmp_path / "site" / "try" / "models.json").read_text("utf-8"))) == len(INT8)
