"""Runtimes that plug into onnxruntime beside its own CPU kernels: one row each, and how they are started."""

from __future__ import annotations

import importlib
import importlib.util
import os
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import onnxruntime

from xlsr_cli.errors import ResourceError


class PlugIn(NamedTuple):
    """One runtime. To add one, add a row to :data:`PLUG_INS` and an extra of this name to pyproject.toml.

    ``name``: as ``--provider`` takes it. ``provider``: what onnxruntime calls it. ``distribution``: what pip
    installs; ``module``: the module in it, with a function ``get_library_path``. ``takes``: the machines that
    it is made for, in words. ``options(threads, callers)``: its settings for ``callers`` calls at once, each
    on ``threads`` threads.
    """

    name: str
    provider: str
    distribution: str
    module: str
    takes: str
    options: Callable[[int, int], dict[str, str]]

    @property
    def is_installed(self) -> bool:
        """Whether its module can be found; nothing is imported."""
        return importlib.util.find_spec(self.module) is not None

    @property
    def remedy(self) -> str:
        """The command that installs it."""
        return f"pip install 'xlsr-cli[{self.name}]'"


def _openvino(threads: int, callers: int) -> dict[str, str]:
    """OpenVINO's settings: a stream for each caller, and float32 where it would take bfloat16.

    Threads are not pinned to cores: decoding and encoding work beside them.
    """
    settings = {
        "INFERENCE_NUM_THREADS": str(threads * callers),
        "NUM_STREAMS": str(callers),
        "ENABLE_CPU_PINNING": "NO",
        "INFERENCE_PRECISION_HINT": "f32",
    }
    import json

    return {"load_config": json.dumps({"CPU": settings})}


PLUG_INS: tuple[PlugIn, ...] = (
    PlugIn(
        name="openvino",
        provider="OpenVINOExecutionProvider",
        distribution="onnxruntime-ep-openvino",
        module="onnxruntime_ep_openvino",
        takes="Intel CPUs on Linux and Windows",
        options=_openvino,
    ),
)

_registering = threading.Lock()
_registered: set[str] = set()
#: The plug-ins that a parent process had loaded: their threads do not exist in this one.
_loaded_by_parent: set[str] = set()


def _renew() -> None:
    global _registering
    _registering = threading.Lock()
    _loaded_by_parent.update(_registered)


if hasattr(os, "register_at_fork"):  # Windows has no fork
    os.register_at_fork(after_in_child=_renew)


def find_plug_in(provider: str) -> PlugIn | None:
    """The plug-in of this name, short or full; None where it is none of :data:`PLUG_INS`."""
    return next((row for row in PLUG_INS if provider.lower() in (row.name, row.provider.lower())), None)


def use_plug_in(options: onnxruntime.SessionOptions, plug_in: PlugIn, *, threads: int, callers: int) -> None:
    """Let a session with these ``options`` run in ``plug_in``, which is loaded for it.

    Raises :class:`ResourceError` where it is not installed, does not load, or does not know this CPU.
    """
    with _registering:
        device = _device(plug_in)
    options.add_provider_for_devices([device], plug_in.options(threads, callers))


def why_unusable(plug_in: PlugIn) -> str | None:
    """Why ``plug_in`` cannot be used here, in one sentence; None where it can. Loads it."""
    try:
        with _registering:
            _device(plug_in)
    except ResourceError as error:
        return error.in_flags
    return None


def _device(plug_in: PlugIn) -> Any:
    """The CPU, as ``plug_in`` offers it."""
    if not plug_in.is_installed:
        raise ResourceError(f"the runtime {plug_in.name} is not installed; to have it: {plug_in.remedy}")
    if plug_in.name in _loaded_by_parent:
        raise ResourceError(
            f"the runtime {plug_in.name} does not work in a process that was forked after it had started; "
            "start processes by 'spawn', or use provider cpu"
        )
    try:
        _register(plug_in)
        offered = onnxruntime.get_ep_devices()
    except Exception as error:  # a half-installed library may raise anything
        raise ResourceError(
            f"the runtime {plug_in.name} cannot be loaded ({error}); --provider cpu works without it; "
            f"to repair it: pip install --force-reinstall --no-deps {plug_in.distribution}"
        ) from error
    cpu = onnxruntime.OrtHardwareDeviceType.CPU
    for device in offered:
        if device.ep_name == plug_in.provider and device.device.type == cpu:
            return device
    raise ResourceError(
        f"the runtime {plug_in.name} does not take this CPU: it is made for {plug_in.takes}; "
        "--provider cpu works without it"
    )


def _register(plug_in: PlugIn) -> None:
    """Load the library of ``plug_in``, once in a process."""
    if plug_in.name not in _registered:
        library = importlib.import_module(plug_in.module).get_library_path()
        onnxruntime.register_execution_provider_library(plug_in.name, library)
        _registered.add(plug_in.name)
