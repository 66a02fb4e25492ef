"""A plug-in that is absent, broken or of another version costs a note; asked for by name, an exit code."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest

from xlsr_cli.cli.app import main
from xlsr_cli.engine import fastest
from xlsr_cli.engine.runtimes import plugins

#: What may stand where OpenVINO's library is expected, as the plug-in's package tells it.
LIBRARIES = {
    "no file": "/no/such/library.so",
    "no library": __file__,
    # A library indeed, but without the functions by which this onnxruntime speaks to plug-ins.
    "another version": next(Path(np.__file__).parent.rglob("_multiarray_umath*")),
}


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "in.png"
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8))
    return path


@pytest.fixture(params=[*LIBRARIES, "broken package"])
def broken(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A plug-in that is installed, but does not work, in a process that looks for one at once."""
    module = ModuleType("onnxruntime_ep_openvino")
    if request.param == "broken package":
        folder = tmp_path / "packages" / module.__name__
        folder.mkdir(parents=True)
        (folder / "__init__.py").write_text("raise ImportError('libtbb.so.12: cannot open')", "utf-8")
        monkeypatch.syspath_prepend(folder.parent)
        monkeypatch.delitem(sys.modules, module.__name__, raising=False)
    else:
        module.get_library_path = lambda: str(LIBRARIES[request.param])  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, module.__name__, module)
        monkeypatch.setattr(plugins.PlugIn, "is_installed", True)
    monkeypatch.setattr(plugins, "_registered", set())
    monkeypatch.setattr(fastest, "_broken", set())
    monkeypatch.setattr(fastest, "PAYS_AFTER", 0.0)


@pytest.mark.usefixtures("broken")
def test_the_cpu_works_and_one_note_tells(picture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    expected, found = picture.with_name("cpu.png"), picture.with_name("auto.png")
    assert main(["upscale", str(picture), str(expected), "--provider", "cpu"]) == 0
    capsys.readouterr()
    assert main(["upscale", str(picture), str(found), "--tile", "24", "--verbose"]) == 0
    assert found.read_bytes() == expected.read_bytes()
    assert capsys.readouterr().err.count("openvino is not used") == 1


@pytest.mark.usefixtures("broken")
def test_without_verbose_nothing_is_said(picture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["upscale", str(picture), str(picture.with_name("out.png")), "--tile", "24"]) == 0
    assert "openvino" not in capsys.readouterr().err


@pytest.mark.usefixtures("broken")
def test_asked_for_by_name_it_is_an_error_that_tells_the_repair(
    picture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["upscale", str(picture), "--provider", "openvino"]) == 6
    told = capsys.readouterr().err
    assert "pip install --force-reinstall --no-deps onnxruntime-ep-openvino" in told
    assert "--provider cpu" in told
    assert "Traceback" not in told


def test_one_that_is_absent_is_named_with_the_command_that_brings_it(
    picture: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(plugins.PlugIn, "is_installed", False)
    assert main(["upscale", str(picture), "--provider", "openvino"]) == 6
    assert "pip install 'xlsr-cli[openvino]'" in capsys.readouterr().err
