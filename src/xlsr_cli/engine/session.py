"""One loaded model. The only importer of onnxruntime."""

from __future__ import annotations

import hashlib
import math
import os
import threading
from concurrent.futures import Future, wait
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime
from numpy.typing import NDArray

from xlsr_cli.engine.cgroup import cpu_quota
from xlsr_cli.engine.models import ModelSpec, find_model, load_bytes, read_model_file
from xlsr_cli.errors import ModelError, ResourceError
from xlsr_cli.options import EngineOptions

#: Seconds after which the thread that waits for a network looks for signals, where none interrupts it.
_LOOK = 0.2
#: Seconds that an interrupted run has to come to its next operator, before it is left behind.
_PATIENCE = 3.0
#: Sides of the probe picture with which the scale of a model from outside is found, in pixels.
_PROBE_SIDE = 64


class TileOutOfMemory(ResourceError):
    """The runtime could not allocate memory for one tile; a smaller one may fit."""


def usable_cores() -> int:
    """How many cores this process may keep busy: the affinity mask, then the cgroup's CPU quota."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # macOS and Windows
        cores = os.cpu_count() or 1
    quota = cpu_quota()
    return max(1, min(cores, math.ceil(quota)) if quota is not None else cores)


def available_providers() -> tuple[str, ...]:
    """onnxruntime's execution providers on this machine, by their full names."""
    return tuple(onnxruntime.get_available_providers())


def provider_name(provider: str) -> str:
    """The full name of a provider given in short (``cpu``, ``cuda``) or in full.

    Raises :class:`ResourceError` when this onnxruntime does not offer it.
    """
    for name in available_providers():
        if provider.lower() in (name.lower(), name.removesuffix("ExecutionProvider").lower()):
            return name
    offered = ", ".join(name.removesuffix("ExecutionProvider").lower() for name in available_providers())
    raise ResourceError(f"onnxruntime offers no provider {provider!r} here; it has: {offered}")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether any of the libraries says that memory ran out; each has its own way."""
    if isinstance(error, (MemoryError, TileOutOfMemory)):
        return True
    if isinstance(error, cv2.error):
        return getattr(error, "code", None) == cv2.Error.StsNoMem
    message = str(error)
    return "bad_alloc" in message or "allocate memory" in message.lower()


class Session:
    """A model ready to run. :meth:`run` may be called from several threads at once."""

    def __init__(self, spec: ModelSpec, content: bytes, *, threads: int = 1, provider: str = "cpu") -> None:
        """Load ``content``. ``threads`` are onnxruntime's own, within one call of :meth:`run`.

        Raises :class:`ModelError` when it is no usable ONNX model, :class:`ResourceError` when the
        provider is missing.
        """
        self._use(spec, _load(content, spec.path, threads, provider))

    def _use(self, spec: ModelSpec, session: onnxruntime.InferenceSession) -> None:
        self.spec = spec
        self._session = session
        self._input = session.get_inputs()[0].name
        self._running: set[onnxruntime.RunOptions] = set()
        #: Whether each run is known to end: a network from outside may hold a loop that never does.
        self.ends_soon = True

    @classmethod
    def bundled(cls, spec: ModelSpec, *, threads: int = 1, provider: str = "cpu") -> Session:
        """Load a model of the manifest, its hash checked."""
        return cls(spec, load_bytes(spec), threads=threads, provider=provider)

    @classmethod
    def foreign(cls, path: Path, *, halo: int | None, threads: int = 1, provider: str = "cpu") -> Session:
        """Load a model from outside: float32 NCHW RGB in 0 … 1; its scale is found by probing.

        Raises :class:`ModelError` when it takes or gives anything else.
        """
        content = read_model_file(path)
        session = _load(content, path, threads, provider)
        spec = _probe(session, path, halo, hashlib.sha256(content).hexdigest())
        loaded = cls.__new__(cls)
        loaded._use(spec, session)
        loaded.ends_soon = False
        return loaded

    def run(self, tile: NDArray[Any], *, last: bool = False) -> NDArray[Any]:
        """One batch of one: as the model's layout says, uint8 or float32, four dimensions in and out.

        ``last``: afterwards, what the runtime keeps of memory for the next run goes back to the system.
        Raises :class:`TileOutOfMemory` when memory ran out, :class:`ModelError` for any other failure.
        """
        try:
            if last or not self.ends_soon:
                return self._run_with_options(tile, last=last)
            answer: NDArray[Any] = self._session.run(None, {self._input: tile})[0]
            return answer
        except Exception as error:
            raise _mapped(error, self.spec.path, tile.shape) from error

    def _run_with_options(self, tile: NDArray[Any], *, last: bool) -> NDArray[Any]:
        options = onnxruntime.RunOptions()
        if last:
            options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        self._running.add(options)
        try:
            return _run_interruptibly(self._session, {self._input: tile}, options)
        finally:
            self._running.discard(options)

    def stop(self) -> None:
        """Let the runs of a model from outside fail soon, between two operators; ours end by themselves."""
        for options in tuple(self._running):
            options.terminate = True


def model_scale(options: EngineOptions) -> int | None:
    """The factor that the named model is made for; None where none is named.

    Raises :class:`ModelError` where there is no such model, or it is none.
    """
    if options.model is None:
        return None
    model = find_model(options.model)
    if isinstance(model, Path):
        return Session.foreign(model, halo=options.halo, provider=options.provider).spec.scale
    return model.scale


def _load(content: bytes, path: Path, threads: int, provider: str) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    # Threads that spin while they wait would take the cores from decoding and encoding.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    # A large network keeps its weights in a file of their own beside it.
    folder = str(path.resolve().parent)
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", folder)
    name = provider_name(provider)
    # onnxruntime falls back to another provider without a word; ours must be the one that runs.
    names = [name] if name == "CPUExecutionProvider" else [name, "CPUExecutionProvider"]
    try:
        session = onnxruntime.InferenceSession(content, options, providers=names)
    except Exception as error:
        if is_out_of_memory(error):
            raise ResourceError(
                f"not enough memory to load the model {path}; close other programs"
            ) from error
        if b"onnx" not in content[:4096] and not content.startswith(b"\x08"):
            raise ModelError(f"{path} is not an ONNX model") from error
        raise ModelError(f"onnxruntime cannot load the model {path}: {_first_line(error)}") from error
    if name not in session.get_providers():
        raise ResourceError(f"the provider {name} is installed but does not work on this machine")
    return session


def _probe(session: onnxruntime.InferenceSession, path: Path, halo: int | None, digest: str) -> ModelSpec:
    inputs, outputs = session.get_inputs(), session.get_outputs()
    shape = inputs[0].shape
    if len(inputs) != 1 or len(outputs) < 1 or inputs[0].type != "tensor(float)" or len(shape) != 4:
        raise ModelError(
            f"{path} is not a network that xlsr understands: one float32 input (1, 3, height, width), RGB in "
            "0 to 1, is expected; a model made by xlsr's own training needs its manifest.toml beside it"
        )
    if (isinstance(shape[1], int) and shape[1] != 3) or any(isinstance(side, int) for side in shape[2:]):
        raise ModelError(f"{path} takes {shape}; xlsr needs three RGB channels and a free height and width")
    picture = np.full((1, 3, _PROBE_SIDE, _PROBE_SIDE + 8), 0.5, dtype=np.float32)
    try:
        answer = _run_interruptibly(session, {inputs[0].name: picture}, onnxruntime.RunOptions())
    except Exception as error:
        raise ModelError(f"{path} fails on a small test picture: {_first_line(error)}") from error
    scale = answer.shape[-2] / _PROBE_SIDE if answer.ndim == 4 else 0.0
    wanted = (1, 3, int(scale * _PROBE_SIDE), int(scale * (_PROBE_SIDE + 8)))
    if scale < 2 or answer.shape != wanted:
        raise ModelError(
            f"{path} answers {answer.shape} to a picture of {picture.shape}: that is no super-resolution "
            "by a whole factor of 2 or more"
        )
    return ModelSpec(
        name=path.stem, path=path, scale=int(scale), colour="rgb", precision="fp32", layout="planes",
        halo=halo, input_channels=3, sha256=digest,
    )  # fmt: skip


def _run_interruptibly(
    session: onnxruntime.InferenceSession, feeds: dict[str, NDArray[Any]], options: onnxruntime.RunOptions
) -> NDArray[Any]:
    """The first output of a run that Ctrl-C and SIGTERM end, be it a loop that never would.

    Only the main thread hears signals, and not while it is inside the runtime: it waits for another one.
    """
    if threading.current_thread() is not threading.main_thread():
        answer: NDArray[Any] = session.run(None, feeds, options)[0]
        return answer
    run: Future[NDArray[Any]] = Future()

    def work() -> None:
        try:
            run.set_result(session.run(None, feeds, options)[0])
        except Exception as error:
            run.set_exception(error)

    threading.Thread(target=work, name="xlsr-network", daemon=True).start()
    try:
        while not wait([run], _LOOK).done:  # Windows interrupts no wait that has no end
            pass
    except BaseException:
        options.terminate = True
        wait([run], _PATIENCE)
        raise
    return run.result()


def _mapped(error: Exception, path: Path, shape: tuple[int, ...]) -> Exception:
    if is_out_of_memory(error):
        return TileOutOfMemory(f"not enough memory to run {path.name} on a tile of {shape}")
    return ModelError(f"the model {path} failed on a tile of {shape}: {_first_line(error)}")


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
