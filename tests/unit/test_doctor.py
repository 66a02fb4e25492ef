"""The doctor finds what is broken, and says so with the right exit code."""

from __future__ import annotations

import importlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import cv2
import jsonschema
import onnxruntime
import pytest

from tests.media.picture.test_older_opencv import MISSING_IN_4_10
from xlsr_cli import doctor, installation
from xlsr_cli.cli.app import main
from xlsr_cli.engine import golden, models, resample
from xlsr_cli.engine.runtimes import plugins
from xlsr_cli.errors import ExitCode, ResourceError
from xlsr_cli.jobs.batch.executors import choice
from xlsr_cli.media import samples
from xlsr_cli.media.video.output.encoder import CODECS

SCHEMA = json.loads((Path(__file__).resolve().parents[2] / "docs" / "doctor.schema.json").read_text("utf-8"))


@pytest.fixture
def own_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the bundled models that a test may damage."""
    folder = tmp_path / "models"
    shutil.copytree(models.models_folder(), folder)
    monkeypatch.setattr(models, "models_folder", lambda: folder)
    models.bundled_models.cache_clear()
    yield folder
    models.bundled_models.cache_clear()


def checked(diagnosis: doctor.Diagnosis) -> doctor.Diagnosis:
    """The same, its JSON compared with the documented schema."""
    data = json.loads(json.dumps(diagnosis.data()))
    jsonschema.Draft202012Validator(SCHEMA).validate(data)
    assert data["exit_code"] == diagnosis.exit_code
    return diagnosis


def only_problem(diagnosis: doctor.Diagnosis) -> doctor.Finding:
    (problem,) = checked(diagnosis).problems
    assert problem.message
    assert problem.remedy
    return problem


def test_a_healthy_machine() -> None:
    diagnosis = checked(doctor.examine())
    assert not diagnosis.problems
    assert diagnosis.exit_code == ExitCode.OK
    names = {finding.name for finding in diagnosis.findings if finding.subject == "model"}
    assert names == {spec.name for spec in models.bundled_models()}
    assert {"png", "avif", "animation", "h264", "ffv1", "batch of two"} <= {
        finding.name for finding in diagnosis.findings
    }


@pytest.mark.parametrize("place", [0, 0.5, 0.999])
def test_one_flipped_bit_in_a_model_is_found(own_models: Path, place: float) -> None:
    path = own_models / "xlsr_x3_rgb_int8.onnx"
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= 0x10
    path.write_bytes(content)
    diagnosis = doctor.examine()
    problem = only_problem(diagnosis)
    assert (problem.subject, problem.name) == ("model", "xlsr_x3_rgb_int8")
    assert "damaged" in problem.message
    assert diagnosis.exit_code == ExitCode.MODEL


def test_a_missing_model_is_found(own_models: Path) -> None:
    (own_models / "xlsr_x2_luma_fp32.onnx").unlink()
    diagnosis = doctor.examine()
    assert only_problem(diagnosis).name == "xlsr_x2_luma_fp32"
    assert diagnosis.exit_code == ExitCode.MODEL


def test_a_damaged_manifest_is_found(own_models: Path) -> None:
    (own_models / "manifest.toml").write_text("[[model]\n", encoding="utf-8")
    diagnosis = doctor.examine()
    assert only_problem(diagnosis).name == "manifest"
    assert diagnosis.exit_code == ExitCode.MODEL


def test_a_cpu_that_computes_other_pixels_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    right = golden.golden_hash
    monkeypatch.setattr(
        golden,
        "golden_hash",
        lambda answer, spec: right(answer ^ 1 if spec.name == "xlsr_x4_rgb_int8" else answer, spec),
    )
    diagnosis = doctor.examine()
    assert only_problem(diagnosis).name == "xlsr_x4_rgb_int8"
    assert diagnosis.exit_code == ExitCode.MODEL


def test_arithmetic_that_gives_other_bytes_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    right = resample.resize
    monkeypatch.setattr(resample, "resize", lambda *given, **options: right(*given, **options) ^ 1)
    diagnosis = doctor.examine()
    assert only_problem(diagnosis).subject == "pixels"
    assert diagnosis.exit_code == ExitCode.RESOURCE


def with_provider(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Make onnxruntime claim to have a provider that cannot work here."""
    there = onnxruntime.get_available_providers()
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [name, *there])


def test_a_provider_that_does_not_start_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    with_provider(monkeypatch, "CUDAExecutionProvider")
    diagnosis = doctor.examine()
    problem = only_problem(diagnosis)
    assert (problem.subject, problem.name) == ("provider", "CUDAExecutionProvider")
    assert diagnosis.exit_code == ExitCode.RESOURCE


@pytest.mark.parametrize(
    ("changes", "status", "words"),
    [
        ({"module": "no_such_module"}, "ok", "not installed; for Intel CPUs"),
        ({"module": "colorsys"}, "warning", "cannot be loaded"),
    ],
)
def test_a_plug_in_that_is_missing_or_broken_is_no_problem(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, str], status: str, words: str
) -> None:
    row = plugins.PLUG_INS[0]._replace(**changes)  # type: ignore[arg-type]
    monkeypatch.setattr(plugins, "PLUG_INS", (row,))
    monkeypatch.setattr(plugins, "_registered", set())
    diagnosis = checked(doctor.examine())
    (finding,) = [finding for finding in diagnosis.findings if finding.name == "openvino"]
    assert (finding.subject, finding.status) == ("provider", status)
    assert words in finding.message
    assert diagnosis.exit_code == ExitCode.OK


def test_the_cpu_is_listed_with_its_speed() -> None:
    diagnosis = checked(doctor.examine())
    (finding,) = [
        finding for finding in diagnosis.findings if finding.name == "cpu" and finding.subject == "provider"
    ]
    assert re.search(r"128x128 to x3 in \d+\.\d ms", finding.message)


def test_a_provider_with_wrong_pixels_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    real = onnxruntime.InferenceSession

    class Wrong:
        """A session whose provider starts, and answers one level too much."""

        def __init__(self, content: bytes, options: Any, providers: list[str]) -> None:
            self.claims = providers
            self.real = real(content, options, providers=["CPUExecutionProvider"])

        def get_providers(self) -> list[str]:
            return self.claims

        def get_inputs(self) -> Any:
            return self.real.get_inputs()

        def run(self, names: Any, feed: Any) -> Any:
            answer = self.real.run(names, feed)
            return [answer[0] + answer[0].dtype.type(1)] if len(self.claims) > 1 else answer

    with_provider(monkeypatch, "CoreMLExecutionProvider")
    monkeypatch.setattr(onnxruntime, "InferenceSession", Wrong)
    diagnosis = doctor.examine()
    problem = only_problem(diagnosis)
    assert problem.name == "CoreMLExecutionProvider"
    assert "wrong pixels" in problem.message
    assert diagnosis.exit_code == ExitCode.RESOURCE


def test_a_missing_picture_codec_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("imencode", "imencodeWithMetadata"):
        real = getattr(cv2, name)

        def without_jpeg2000(extension: str, *arguments: Any, real: Any = real) -> Any:
            if extension == ".jp2":
                raise cv2.error("could not find encoder for the specified extension")
            return real(extension, *arguments)

        monkeypatch.setattr(cv2, name, without_jpeg2000)
    diagnosis = doctor.examine()
    problem = only_problem(diagnosis)
    assert (problem.subject, problem.name) == ("picture", "jp2")
    assert diagnosis.exit_code == ExitCode.RESOURCE


def test_an_encoder_that_this_build_lacks_is_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CODECS, "av1", replace(CODECS["av1"], encoder="libsvtav2"))
    diagnosis = checked(doctor.examine())
    (note,) = [each for each in diagnosis.findings if each.status == "warning" and each.subject == "video"]
    assert (note.subject, note.name) == ("video", "av1")
    assert "no encoder libsvtav2" in note.message
    assert "--codec h264 or hevc or vp9 or ffv1" in note.remedy
    assert diagnosis.exit_code == ExitCode.OK


def test_without_the_usual_encoder_videos_do_not_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CODECS, "h264", replace(CODECS["h264"], encoder="libx266"))
    diagnosis = doctor.examine()
    problem = only_problem(diagnosis)
    assert (problem.subject, problem.name) == ("video", "h264")
    assert "libx266" in problem.message
    assert diagnosis.exit_code == ExitCode.RESOURCE


def test_a_codec_that_loses_frames_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samples, "film_contents", lambda path: (2, True))
    diagnosis = doctor.examine()
    assert {problem.subject for problem in diagnosis.problems} == {"video"}
    assert "2 of 3 frames came back" in diagnosis.problems[0].message


def test_sound_that_is_lost_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samples, "film_contents", lambda path: (3, False))
    assert "sound" in checked(doctor.examine()).problems[0].message


def test_another_pyav_that_fails_at_every_film_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def other(*given: object, **options: object) -> None:
        raise TypeError("open() got an unexpected keyword argument")

    monkeypatch.setattr(av, "open", other)
    diagnosis = checked(doctor.examine())
    # AVIF too: how strongly it was compressed is read through PyAV.
    assert {problem.name for problem in diagnosis.problems} == {*CODECS, "avif"}
    assert all("unexpected keyword" in problem.message for problem in diagnosis.problems)
    assert diagnosis.exit_code == ExitCode.RESOURCE


def test_a_batch_that_does_not_work_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(work: object) -> None:
        raise ResourceError("no process can be started")

    monkeypatch.setattr(choice, "open_executor", broken)
    problem = only_problem(doctor.examine())
    assert (problem.subject, problem.message) == ("batch", "no process can be started")


def test_the_log_of_opencv_4_is_quiet_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has no ``cv2.utils.logging``: the level is set in ``cv2`` itself."""
    levels = [3]
    monkeypatch.delattr(cv2.utils, "logging")
    monkeypatch.setattr(
        cv2, "setLogLevel", lambda level: (levels.append(level), levels[-2])[1], raising=False
    )
    assert not checked(doctor.examine()).problems
    assert levels[1] == 2
    assert levels[-1] == 3


@pytest.mark.parametrize(("module", "looks_on"), [("onnxruntime", False), ("tifffile", True)])
def test_a_library_that_cannot_be_imported_is_found(
    monkeypatch: pytest.MonkeyPatch, module: str, looks_on: bool
) -> None:
    real = importlib.import_module

    def broken(name: str, package: str | None = None) -> Any:
        if name == module:
            raise ImportError("DLL load failed")
        return real(name, package)

    monkeypatch.setattr(importlib, "import_module", broken)
    diagnosis = doctor.examine()
    problem = only_problem(diagnosis)
    assert (problem.subject, problem.name) == ("library", module)
    assert "DLL load failed" in problem.message
    assert diagnosis.exit_code == ExitCode.RESOURCE
    assert (diagnosis.machine is not None) == looks_on
    assert any(finding.subject == "model" for finding in diagnosis.findings) == looks_on


def test_a_library_that_is_broken_leaves_the_other_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.import_module
    broken = ImportError("libx265.so: cannot open shared object file")

    def imported(name: str, package: str | None = None) -> Any:
        if name == "av":
            raise broken
        return real(name, package)

    monkeypatch.setattr(importlib, "import_module", imported)
    diagnosis = doctor.examine()
    assert only_problem(diagnosis).name == "av"
    assert {"png", "batch of two"} <= {finding.name for finding in diagnosis.findings}


def test_two_opencvs_are_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    real = installation.installed_versions()
    both = {**real, "opencv-python": "4.10.0.84"}
    monkeypatch.setattr(installation, "installed_versions", lambda: both)
    diagnosis = checked(doctor.examine())
    findings = [finding for finding in diagnosis.findings if finding.subject == "library"]
    (warning,) = [finding for finding in findings if finding.status == "warning"]
    assert "opencv-python 4.10.0.84 and opencv-python-headless" in warning.message
    assert "pip uninstall opencv-python opencv-python-headless" in warning.remedy
    assert diagnosis.exit_code == ExitCode.OK


def test_opencv_4_10_over_the_newer_one_is_said_with_what_does_not_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its wheel has no encoder for AVIF; everything else leads through."""
    both = {**installation.installed_versions(), "opencv-python": "4.10.0.84"}
    monkeypatch.setattr(installation, "installed_versions", lambda: both)
    for name in MISSING_IN_4_10:
        monkeypatch.delattr(cv2, name)
    real = cv2.imencode
    monkeypatch.setattr(
        cv2,
        "imencode",
        lambda extension, *given: (False, None) if extension == ".avif" else real(extension, *given),
    )
    diagnosis = doctor.examine()
    problem = only_problem(diagnosis)
    assert (problem.subject, problem.name) == ("picture", "avif")
    assert problem.remedy.startswith("pip uninstall opencv-python opencv-python-headless")
    (warning,) = [finding for finding in diagnosis.findings if finding.name == "opencv"]
    assert warning.status == "warning"
    assert "opencv-python 4.10.0.84" in warning.message
    assert diagnosis.exit_code == ExitCode.RESOURCE


def test_a_library_that_is_too_old_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installation, "installed_versions", lambda: {"av": "17.1.0"})
    monkeypatch.setattr(installation, "needed_versions", lambda: {"av": "18.0"})
    diagnosis = checked(doctor.examine())
    problem = only_problem(diagnosis)
    assert problem.message == "xlsr needs av 18.0 or newer, and 17.1.0 is installed"
    assert problem.remedy == 'pip install --upgrade "av>=18.0"'


def test_a_model_outweighs_the_rest(own_models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (own_models / "xlsr_x2_luma_fp32.onnx").unlink()
    with_provider(monkeypatch, "CUDAExecutionProvider")
    diagnosis = checked(doctor.examine())
    assert {problem.subject for problem in diagnosis.problems} == {"model", "provider"}
    assert diagnosis.exit_code == ExitCode.MODEL


def test_the_command_says_what_to_do_and_returns_the_code(
    own_models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor"]) == 0
    healthy = capsys.readouterr().out
    assert "cpu features" in healthy
    assert healthy.rstrip().endswith("computes the right pixels.")
    (own_models / "xlsr_x2_rgb_int8.onnx").unlink()
    assert main(["doctor"]) == 5
    text = capsys.readouterr().out
    assert "WRONG  xlsr_x2_rgb_int8" in text
    assert "what to do: reinstall xlsr-cli" in text
    assert main(["doctor", "--json"]) == 5
    assert json.loads(capsys.readouterr().out)["exit_code"] == 5


def test_looking_needs_no_library_before_it_is_looked_at() -> None:
    """The module itself must load where onnxruntime does not, or it could not say so."""
    program = "import sys, xlsr_cli.doctor; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not {"numpy", "cv2", "onnxruntime", "av", "PIL", "tifffile"} & set(done.stdout.split())
