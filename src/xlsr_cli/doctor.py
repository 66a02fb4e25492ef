"""Check that this installation works on this machine; if not, say what is wrong and what to do."""

from __future__ import annotations

import importlib
import importlib.metadata
import tempfile
import time
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from xlsr_cli import __version__
from xlsr_cli.errors import REPORT_AT, ExitCode, ModelError, XlsrError
from xlsr_cli.installation import library_complaint, opencv_clash, opencv_remedy
from xlsr_cli.options import VideoCodec

if TYPE_CHECKING:
    from xlsr_cli.engine.models import ModelSpec
    from xlsr_cli.machine import Machine
    from xlsr_cli.trials import Trial

#: Changes with every change of the JSON that could break a reader; described in ``docs/doctor.schema.json``.
FORMAT = "xlsr-doctor/1"

Subject = Literal["library", "machine", "model", "provider", "pixels", "picture", "video", "batch"]
Status = Literal["ok", "warning", "problem"]

#: Modules and the distributions that contain them. Each is imported, to find out why one cannot be.
_LIBRARIES = {
    "numpy": "numpy", "cv2": "opencv-python-headless", "onnxruntime": "onnxruntime", "PIL": "pillow",
    "tifffile": "tifffile", "av": "av",
}  # fmt: skip
#: Without these, nothing else can be checked; the others only read and write files.
_ENGINE_LIBRARIES = {"numpy", "opencv-python-headless", "onnxruntime"}
_CPU = "CPUExecutionProvider"
#: Without this one, ``xlsr upscale film.mkv`` fails; the others must be asked for.
_USUAL_CODEC: VideoCodec = "h264"
#: Below, even small pictures may not fit, in bytes.
_LITTLE_MEMORY = 512 << 20

#: Each runtime is timed with a tile of this side, this many times.
_TIMED_SIDE, _TIMED_RUNS = 128, 5
#: The messages of trials that passed.
_DONE = {
    "picture": "upscaled from and to it",
    "video": "upscaled, with its sound",
    "batch": "upscaled by workers of their own",
}

_REPORT = f"please report this at {REPORT_AT}"
_REINSTALL = "reinstall xlsr-cli from where you got it, with pip's --force-reinstall"


@dataclass(frozen=True)
class Finding:
    """One thing that was checked. ``message`` says what was found, ``remedy`` what to do about it."""

    subject: Subject
    name: str
    status: Status
    message: str
    remedy: str = ""


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """All findings. ``machine`` is None where the libraries that would describe it cannot be imported."""

    machine: Machine | None
    findings: tuple[Finding, ...]

    @property
    def problems(self) -> tuple[Finding, ...]:
        """What is wrong."""
        return tuple(finding for finding in self.findings if finding.status == "problem")

    @property
    def exit_code(self) -> ExitCode:
        """0; 5 when a model is wrong; 6 when anything else is."""
        if any(finding.subject == "model" for finding in self.problems):
            return ExitCode.MODEL
        return ExitCode.RESOURCE if self.problems else ExitCode.OK

    def data(self) -> dict[str, Any]:
        """For JSON, as ``docs/doctor.schema.json`` describes it."""
        return {
            "format": FORMAT,
            "version": __version__,
            "exit_code": int(self.exit_code),
            "machine": None if self.machine is None else asdict(self.machine),
            "findings": [asdict(finding) for finding in self.findings],
        }


def examine() -> Diagnosis:
    """Check libraries, machine, models on every provider, and every kind of work; takes some seconds.

    Everything that fails becomes a finding; nothing is raised.
    """
    libraries = tuple(_libraries())
    broken = {finding.name for finding in libraries if finding.status == "problem"}
    if broken & _ENGINE_LIBRARIES:
        return Diagnosis(machine=None, findings=libraries)
    from xlsr_cli.machine import this_machine

    machine = this_machine()
    findings = [*libraries, *_machine(machine), *_pixels(), *_models_everywhere(machine)]
    diagnosis = Diagnosis(machine=machine, findings=tuple(findings))
    if diagnosis.exit_code == ExitCode.MODEL:
        return diagnosis  # nothing works without the models
    return replace(diagnosis, findings=(*findings, *_ways(films="av" not in broken)))


def _libraries() -> Iterator[Finding]:
    import xlsr_cli.engine  # noqa: F401 - before onnxruntime, which it keeps from reporting

    for module, distribution in _LIBRARIES.items():
        try:
            importlib.import_module(module)
        except Exception as error:  # a half-installed library may raise anything
            remedy = f"reinstall it: pip install --force-reinstall {distribution}"
            yield Finding("library", distribution, "problem", f"cannot be imported: {error}", remedy)
        else:
            yield Finding("library", distribution, "ok", _version(distribution))
    complaint = library_complaint()
    if complaint is not None:
        message, _, remedy = complaint.partition("; run: ")
        yield Finding("library", "versions", "problem", message, remedy)
    clash = opencv_clash()
    if clash is not None:
        yield Finding("library", "opencv", "warning", clash, opencv_remedy())


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _machine(machine: Machine) -> Iterator[Finding]:
    cpu, cores, memory = machine.cpu, machine.cores, machine.memory
    slow = "; int8 models run, with the same pixels, but slower than with a dot product for bytes (VNNI)"
    kernel = f"{cpu.kernel}{'' if cpu.has_dot_product else slow}"
    yield Finding("machine", "cpu", "ok", f"{cpu.model} ({cpu.architecture}), {kernel}")
    features = ", ".join(cpu.features) or "none that matters to integer kernels"
    yield Finding("machine", "cpu features", "ok", features)
    counted = f"{cores.usable} usable of {cores.logical}"
    if cores.affinity < cores.logical:
        counted += f" (affinity mask: {cores.affinity})"
    if cores.usable < cores.affinity:
        counted += " (limited by the control group)"
    yield Finding("machine", "cores", "ok", counted)
    free = [size for size in (memory.available, memory.limit) if size is not None]
    words = ", ".join(_memory_words(memory.total, memory.available, memory.limit)) or "unknown"
    if min(free, default=_LITTLE_MEMORY) < _LITTLE_MEMORY:
        yield Finding("machine", "memory", "warning", words, "close other programs, or give --max-memory")
    else:
        yield Finding("machine", "memory", "ok", words)


def _memory_words(total: int | None, available: int | None, limit: int | None) -> Iterator[str]:
    for size, words in ((total, "in all"), (available, "available"), (limit, "allowed by the control group")):
        if size is not None:
            yield f"{size / (1 << 30):.1f} GiB {words}"


def _pixels() -> Iterator[Finding]:
    from xlsr_cli.engine.golden_colour import answers_colour_golden

    if answers_colour_golden():
        yield Finding("pixels", "colour and resizing", "ok", "golden hash")
    else:
        wrong = "integer arithmetic gives wrong bytes"
        remedy = f"reinstall numpy and opencv-python-headless; {_REPORT}"
        yield Finding("pixels", "colour and resizing", "problem", wrong, remedy)


def _models_everywhere(machine: Machine) -> Iterator[Finding]:
    from xlsr_cli.engine.models import bundled_models

    try:
        models = bundled_models()
    except ModelError as error:
        yield Finding("model", "manifest", "problem", error.in_flags, _REINSTALL)
        return
    damaged = set()
    for finding in _models_on_cpu(models):
        if finding.status == "problem":
            damaged.add(finding.name)
        yield finding
    whole = tuple(spec for spec in models if spec.name not in damaged)
    yield Finding("provider", "cpu", "ok", f"always there{_speed(whole, 'cpu')}")
    for provider in machine.providers:
        if provider != _CPU:
            yield _models_on_provider(whole, provider)
    yield from _models_on_plug_ins(whole)


def _models_on_cpu(models: tuple[ModelSpec, ...]) -> Iterator[Finding]:
    from xlsr_cli.engine.golden import FLOAT_TOLERANCE, answers_golden
    from xlsr_cli.engine.session import Session

    for spec in models:
        status: Status = "ok"
        remedy = ""
        message = "golden hash" if spec.precision == "int8" else f"golden values within {FLOAT_TOLERANCE:g}"
        try:
            if not answers_golden(Session.bundled(spec)):
                status, message = "problem", f"the answer is wrong ({message})"
                remedy = f"install the newest onnxruntime; {_REPORT}, with 'xlsr doctor --json'"
        except XlsrError as error:
            status, message, remedy = "problem", error.in_flags, _REINSTALL
        yield Finding("model", spec.name, status, message, remedy)


def _models_on_plug_ins(models: tuple[ModelSpec, ...]) -> Iterator[Finding]:
    """Check the models on each plug-in. One that does not start costs only speed."""
    from xlsr_cli.engine.runtimes.plugins import PLUG_INS, why_unusable

    for plug_in in PLUG_INS:
        if not plug_in.is_installed:
            message = f"not installed; for {plug_in.takes}: {plug_in.remedy}"
            yield Finding("provider", plug_in.name, "ok", message)
            continue
        hindrance = why_unusable(plug_in)
        if hindrance is None:
            yield _models_on_provider(models, plug_in.name)
        else:
            remedy = f"nothing needs to be done, or: pip uninstall {plug_in.distribution}"
            yield Finding("provider", plug_in.name, "warning", hindrance, remedy)


def _models_on_provider(models: tuple[ModelSpec, ...], provider: str) -> Finding:
    """All ``models`` on another provider. They are right on the CPU, so a failure is the provider's."""
    from xlsr_cli.engine.golden import answers_golden
    from xlsr_cli.engine.session import Session

    wrong = []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # onnxruntime warns as well; our own message follows
            for spec in models:
                if not answers_golden(Session.bundled(spec, provider=provider)):
                    wrong.append(spec.name)
        failure = f"wrong pixels from {', '.join(wrong)}" if wrong else ""
    except XlsrError as error:
        failure = error.in_flags
    if failure:
        remedy = "leave out --provider: the CPU works; or repair the provider's driver"
        return Finding("provider", provider, "problem", failure, remedy)
    speed = _speed(models, provider)
    return Finding("provider", provider, "ok", f"{len(models)} models give the right answers{speed}")


def _speed(models: tuple[ModelSpec, ...], provider: str) -> str:
    """The speed of the provider, as the end of a message: the best of a few runs, on one thread."""
    from xlsr_cli.engine.session import Session
    from xlsr_cli.engine.tiles.tile import blank_tile

    timed = next((spec for spec in models if (spec.scale, spec.precision) == (3, "int8")), None)
    if timed is None:
        return ""
    session, tile = Session.bundled(timed, provider=provider), blank_tile(timed, _TIMED_SIDE)
    milliseconds = []
    for _ in range(_TIMED_RUNS):
        started = time.perf_counter()
        session.run(tile)
        milliseconds.append((time.perf_counter() - started) * 1e3)
    return f"; {_TIMED_SIDE}x{_TIMED_SIDE} to x3 in {min(milliseconds):.1f} ms"


def _ways(*, films: bool) -> Iterator[Finding]:
    """Run the trials of every kind of work; those of films only where PyAV can be imported."""
    from xlsr_cli.engine.upscaler import Upscaler
    from xlsr_cli.media.samples import ffmpeg_version
    from xlsr_cli.trials import trials

    codecs: list[VideoCodec] = []
    if films:
        yield Finding("video", "FFmpeg", "ok", ffmpeg_version())
        missing = _missing_encoders()
        codecs = [codec for codec in get_args(VideoCodec) if codec not in missing]
        remedy = f"give --codec {' or '.join(codecs)} instead" if codecs else "install PyAV from its wheel"
        for codec, encoder in missing.items():
            status: Status = "problem" if codec == _USUAL_CODEC else "warning"
            yield Finding("video", codec, status, f"this build of PyAV has no encoder {encoder}", remedy)
    with Upscaler(scale=2) as upscaler:
        for trial in trials(upscaler, codecs):
            yield _tried(trial)


def _missing_encoders() -> dict[VideoCodec, str]:
    from xlsr_cli.media.samples import has_encoder
    from xlsr_cli.media.video.output.encoder import CODECS

    return {name: codec.encoder for name, codec in CODECS.items() if not has_encoder(codec.encoder)}


def _tried(trial: Trial) -> Finding:
    failure = ""
    try:
        with tempfile.TemporaryDirectory(prefix="xlsr-doctor-") as folder:
            trial.run(Path(folder))
    except XlsrError as error:
        failure = error.in_flags
    except Exception as error:  # a library of another version may raise anything
        failure = f"{type(error).__name__}: {error}"
    if not failure:
        return Finding(trial.subject, trial.name, "ok", _DONE[trial.subject])
    clash = trial.subject == "picture" and opencv_clash() is not None
    return Finding(trial.subject, trial.name, "problem", failure, opencv_remedy() if clash else trial.remedy)
