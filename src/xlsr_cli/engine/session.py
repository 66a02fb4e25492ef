"""One loaded model. Only this and :mod:`xlsr_cli.engine.runtimes.plugins` import onnxruntime."""

from __future__ import annotations

import hashlib
import logging
import threading
from concurrent.futures import Future, wait
from pathlib import Path
from typing import Any

import cv2
import onnxruntime
from numpy.typing import NDArray

from xlsr_cli.engine.models import ModelSpec, find_model, load_bytes, read_model_file
from xlsr_cli.engine.runtimes.plugins import PLUG_INS, find_plug_in, use_plug_in
from xlsr_cli.errors import ModelError, ResourceError
from xlsr_cli.options import EngineOptions

log = logging.getLogger(__name__)

#: Azure's provider sends pictures to a server.
_REMOTE = "AzureExecutionProvider"
#: The thread that waits for a network looks for signals after this many seconds.
_LOOK = 0.2
#: Seconds that an interrupted run gets to reach its next operator; then nobody waits for it any longer.
_PATIENCE = 3.0


class TileOutOfMemory(ResourceError):
    """The runtime could not allocate memory for one tile; a smaller one may fit."""


def available_providers() -> tuple[str, ...]:
    """onnxruntime's own execution providers that compute on this machine, by their full names.

    onnxruntime lists plug-ins as well once they are loaded; those are left out.
    """
    others = (_REMOTE, *(row.provider for row in PLUG_INS))
    return tuple(name for name in onnxruntime.get_available_providers() if not name.startswith(others))


def provider_name(provider: str) -> str:
    """The full name of a provider; the short name (``cpu``, ``cuda``) will do. ``auto`` means the CPU here.

    Raises :class:`ResourceError` when neither this onnxruntime nor a plug-in of ours offers it.
    """
    if provider == "auto":
        return "CPUExecutionProvider"
    plug_in = find_plug_in(provider)
    if plug_in is not None:
        return plug_in.provider
    for name in available_providers():
        if provider.lower() in (name.lower(), _short(name)):
            return name
    offered = ", ".join(_short(name) for name in available_providers())
    installable = ", ".join(f"{row.name} ({row.remedy})" for row in PLUG_INS if not row.is_installed)
    raise ResourceError(
        f"onnxruntime offers no provider {provider!r} here; it has: {offered}"
        + (f"; to be had: {installable}" if installable else "")
    )


def _short(provider: str) -> str:
    return provider.removesuffix("ExecutionProvider").lower()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether ``error`` means that memory ran out, in the words of any of the libraries."""
    if isinstance(error, (MemoryError, TileOutOfMemory)):
        return True
    if isinstance(error, cv2.error):
        return getattr(error, "code", None) == cv2.Error.StsNoMem
    message = str(error)
    return "bad_alloc" in message or "allocate memory" in message.lower()


class Session:
    """A model ready to run. :meth:`run` may be called from several threads at once."""

    def __init__(
        self,
        spec: ModelSpec,
        content: bytes,
        *,
        threads: int = 1,
        provider: str = "cpu",
        callers: int = 1,
        alone: bool = False,
    ) -> None:
        """Load ``content``. ``threads`` are the runtime's own, within each of ``callers`` calls at once.

        ``alone``: refuse a provider that would leave parts of the model to the CPU's. Raises
        :class:`ModelError` when it is no usable ONNX model, :class:`ResourceError` when the provider is
        missing.
        """
        self._use(spec, _load(content, spec.path, provider, threads=threads, callers=callers, alone=alone))

    def _use(self, spec: ModelSpec, session: onnxruntime.InferenceSession) -> None:
        self.spec = spec
        self._session = session
        self._input = session.get_inputs()[0].name
        self._running: set[onnxruntime.RunOptions] = set()
        #: Whether each run is known to end: a foreign network may contain an endless loop.
        self.ends_soon = True

    @classmethod
    def bundled(
        cls, spec: ModelSpec, *, threads: int = 1, provider: str = "cpu", callers: int = 1
    ) -> Session:
        """Load a model of the manifest, its hash checked."""
        return cls(spec, load_bytes(spec), threads=threads, provider=provider, callers=callers)

    @classmethod
    def foreign(cls, path: Path, *, halo: int | None, threads: int = 1, provider: str = "cpu") -> Session:
        """Load a foreign model: its form is read from the file, the rest is found by a trial run.

        ``threads`` are for one that takes whole pictures; one that takes tiles gets one for each call, of
        which there may be ``threads``. Raises :class:`ModelError` when it is none that is understood.
        """
        from xlsr_cli.engine.runtimes import foreign

        content = read_model_file(path)
        session = _load(content, path, provider, threads=1, callers=threads)
        found = foreign.read_form(session.get_inputs(), path)
        if halo is None and found.form.size is None and threads > 1:
            session = _load(content, path, provider, threads=threads)

        def run(tile: NDArray[Any]) -> NDArray[Any]:
            feeds = {session.get_inputs()[0].name: tile}
            return _run_interruptibly(session, feeds, onnxruntime.RunOptions())

        digest = hashlib.sha256(content).hexdigest()
        loaded = cls.__new__(cls)
        loaded._use(foreign.describe(found, run, path, halo=halo, sha256=digest), session)
        loaded.ends_soon = False
        log.info("%s: %s", path, foreign.in_words(loaded.spec))
        return loaded

    def run(self, tile: NDArray[Any], *, last: bool = False) -> NDArray[Any]:
        """Run a batch of one tile: four dimensions in and out, uint8 or float32 as the model's layout says.

        ``last``: afterwards, memory that the runtime keeps for the next run is given back to the system.
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
        """Make runs of a foreign model fail soon, between two operators; other models end soon anyway."""
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


def _load(
    content: bytes, path: Path, provider: str, *, threads: int, callers: int = 1, alone: bool = False
) -> onnxruntime.InferenceSession:
    options = _session_options(path, threads)
    if alone and provider != "cpu":
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    name, plug_in = provider_name(provider), find_plug_in(provider)
    # onnxruntime falls back to another provider without a word; ours must be the one that runs.
    names = [name] if name == "CPUExecutionProvider" else [name, "CPUExecutionProvider"]
    if plug_in is not None:
        use_plug_in(options, plug_in, threads=threads, callers=callers)
    try:
        session = onnxruntime.InferenceSession(content, options, providers=names if plug_in is None else None)
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


def _session_options(path: Path, threads: int) -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    # One block for all of a run's activations would be kept beside those of other sizes, for no speed.
    options.enable_mem_pattern = False
    # Threads that spin while they wait would take the cores from decoding and encoding.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    # A large network keeps its weights in a file of their own beside it.
    folder = str(path.resolve().parent)
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", folder)
    return options


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
