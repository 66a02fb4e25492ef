"""The same pixels everywhere: on this CPU, on emulated ones, with any number of threads and any tiles."""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from xlsr_cli.engine.golden import FLOAT_TOLERANCE, golden_hash, golden_input
from xlsr_cli.engine.golden_colour import COLOUR_GOLDEN, golden_picture
from xlsr_cli.engine.models import ModelSpec, bundled_models
from xlsr_cli.engine.session import Session

SCRIPT = Path(__file__).with_name("answers.py")
#: AVX2 without VNNI, AVX alone, and AMD's first with AVX2; the machines that run this have other ones.
CPUS = ("Haswell", "SandyBridge", "EPYC")
#: The one of them that is asked for OpenVINO's answers as well: it takes Intel's CPUs alone.
OPENVINO_CPU = "Haswell"
#: By how many levels a network from outside, which is of floats, may differ between runtimes; emulated sums
#: of floats differ by more.
FOREIGN_TOLERANCE, EMULATED_TOLERANCE = 1, 8
#: Seconds that an emulated CPU may take where others keep the machine busy.
_LONG = 1800
INT8 = [spec for spec in bundled_models() if spec.precision == "int8"]


def load_answers() -> ModuleType:
    spec = importlib.util.spec_from_file_location("golden_answers", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


answers = load_answers()


def test_int8_models_give_their_golden_hash() -> None:
    assert answers.model_hashes() == {spec.name: spec.golden for spec in INT8}


def test_float_models_give_their_golden_values() -> None:
    expected = {spec.name: list(spec.golden_samples) for spec in bundled_models() if spec.precision == "fp32"}
    assert_close(answers.float_samples(), expected)


def test_colour_and_resizing_give_their_golden_hash() -> None:
    assert answers.colour_hash() == COLOUR_GOLDEN


def test_pictures_give_their_golden_hash() -> None:
    stored = json.loads(answers.PICTURES.read_text("utf-8"))
    assert stored["models"] == answers.used_models(), (
        "the bundled models are not those of pictures.json; run: python tests/golden/answers.py --write"
    )
    assert answers.picture_hashes() == stored["pictures"]


@pytest.mark.parametrize("threads", [1, 2, 4])
@pytest.mark.parametrize("tile", [None, 8, 17, 64])
def test_threads_and_tiles_change_no_picture(threads: int, tile: int | None) -> None:
    stored = json.loads(answers.PICTURES.read_text("utf-8"))
    assert answers.picture_hashes(threads=threads, tile=tile) == stored["pictures"]


def test_plug_ins_give_the_same_bytes() -> None:
    names = answers.plug_ins()
    if not names:
        pytest.skip("no plug-in works on this CPU; an emulated one shows it, see below")
    for name in names:
        assert answers.model_hashes(name) == answers.model_hashes()
        assert answers.noise_hashes(name) == answers.noise_hashes()
        assert max(answers.foreign_differences(name).values()) <= FOREIGN_TOLERANCE


@pytest.mark.parametrize("threads", [2, 4])
@pytest.mark.parametrize("spec", INT8, ids=lambda spec: spec.name)
def test_threads_of_the_runtime_change_nothing(spec: ModelSpec, threads: int) -> None:
    answer = Session.bundled(spec, threads=threads).run(golden_input(spec))
    assert golden_hash(answer, spec) == spec.golden


def test_the_golden_picture_has_every_kind_of_alpha() -> None:
    alpha = golden_picture()[..., 3]
    assert alpha.min() == 0
    assert alpha.max() == 255
    assert len(np.unique(alpha)) > 100


def assert_close(found: dict[str, list[float]], expected: dict[str, list[float]]) -> None:
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=0, atol=FLOAT_TOLERANCE, err_msg=name)


@pytest.fixture(scope="module")
def emulated() -> Iterator[dict[str, subprocess.Popen[str]]]:
    """The answers of every emulated CPU; they start together, since each keeps one core busy."""
    qemu = shutil.which("qemu-x86_64") or shutil.which("qemu-x86_64-static")
    if qemu is None:
        pytest.skip("qemu-x86_64 is not installed (Debian: qemu-user)")
    # numpy's OpenBLAS chooses kernels by CPU family and would take ones that the emulator does not know.
    environment = os.environ | {"OPENBLAS_CORETYPE": "Nehalem"}
    started = {
        cpu: subprocess.Popen(
            [
                *(qemu, "-cpu", cpu, sys.executable, str(SCRIPT)),
                *([] if cpu == OPENVINO_CPU else ["--no-plug-ins"]),
            ],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for cpu in CPUS
    }
    yield started
    for process in started.values():
        process.kill()
        process.communicate()


def answered(cpu: str, emulated: dict[str, subprocess.Popen[str]]) -> str:
    """What the emulated CPU printed, when it is done; it may be asked for again."""
    if cpu not in printed:
        output, messages = emulated[cpu].communicate(timeout=_LONG)
        assert emulated[cpu].returncode == 0, messages[-2000:]
        printed[cpu] = output
    return printed[cpu]


printed: dict[str, str] = {}


def assert_all_right(plug_ins: dict[str, list[dict[str, str]]], here: dict[str, Any]) -> None:
    """Every plug-in gave the bytes of the CPU kernels."""
    assert plug_ins == {name: [here["models"], here["noise"]] for name in plug_ins}


@pytest.mark.slow
@pytest.mark.timeout(_LONG)
@pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() != "x86_64",
    reason="qemu's user mode runs this Python, which must be Linux's for x86-64",
)
@pytest.mark.parametrize("cpu", CPUS)
def test_another_cpu_gives_the_same_pixels(cpu: str, emulated: dict[str, subprocess.Popen[str]]) -> None:
    there: dict[str, Any] = json.loads(answered(cpu, emulated))
    here = answers.answers()
    assert_close(there.pop("floats"), here.pop("floats"))
    for side in (there, here):
        assert_all_right(side.pop("plug-ins"), here)
        del side["foreign"]
    assert there == here


@pytest.mark.slow
@pytest.mark.timeout(_LONG)
def test_openvino_gives_the_same_pixels(emulated: dict[str, subprocess.Popen[str]]) -> None:
    """Where this machine's CPU is not Intel's, an emulated one shows it."""
    pytest.importorskip("onnxruntime_ep_openvino", reason="the plug-in is not installed (the extra openvino)")
    there = json.loads(answered(OPENVINO_CPU, emulated))
    assert there["plug-ins"].keys() == {"openvino"}
    models, noise = there["plug-ins"]["openvino"]
    assert models == {spec.name: spec.golden for spec in INT8}
    assert noise == answers.noise_hashes()
    foreign = there["foreign"]["openvino"]
    assert foreign.keys() == {path.stem for path in answers.FOREIGN.glob("*.onnx")}
    assert max(foreign.values()) <= EMULATED_TOLERANCE
