"""Choose the networks for a picture: by its size, channels and depth, and by the options."""

from __future__ import annotations

import copy
import math
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from xlsr_cli.children import renew_after_fork
from xlsr_cli.engine.fastest import open_session
from xlsr_cli.engine.models import (
    Colour,
    ModelPrecision,
    ModelSpec,
    Restore,
    bundled_model,
    bundled_models,
    find_model,
)
from xlsr_cli.engine.session import Session
from xlsr_cli.errors import ModelError, UsageError
from xlsr_cli.options import EngineOptions, Size

#: Chains of model scales for each total factor, the cheapest first: the smaller model goes first, since
#: the second one works on the larger picture.
CHAINS: tuple[tuple[int, ...], ...] = ((2,), (3,), (4,), (2, 3), (2, 4), (3, 3), (3, 4), (4, 4))


class Plane(NamedTuple):
    """What goes through a network together: three colours (``rgb``) or one channel, maybe ``alpha``."""

    colour: Colour
    alpha: bool = False


class _Loaded:
    """The networks of a choice and its copies, by name. Safe to use from several threads at once."""

    def __init__(self) -> None:
        self._sessions: dict[str, Session] = {}
        self._lock = threading.Lock()
        renew_after_fork(self)

    def get(self, name: str, load: Callable[[], Session]) -> Session:
        """The network ``name``; the first caller loads it, and the others wait for that."""
        with self._lock:
            if name not in self._sessions:
                self._sessions[name] = load()
            return self._sessions[name]

    def all(self) -> list[Session]:
        with self._lock:
            return list(self._sessions.values())

    def forget(self) -> None:
        with self._lock:
            self._sessions.clear()

    def renew(self) -> None:
        """Begin without networks in a forked process. Freeing the parent's would wait for its threads."""
        _of_parents.append(self._sessions)
        self._sessions = {}
        self._lock = threading.Lock()


#: The networks that this process was forked with: never used, never freed.
_of_parents: list[dict[str, Session]] = []


class Choice:
    """The networks for one :class:`EngineOptions`. Each is loaded when it is first needed, and kept.

    Safe to use from several threads at once. ``threads`` are those of a network that computes a whole
    picture at once. Raises :class:`UsageError` for options that contradict the named model, and
    :class:`ModelError` for an unknown one.
    """

    def __init__(self, options: EngineOptions, *, threads: int) -> None:
        self._options = options
        self._threads = threads
        self._model = None if options.model is None else find_model(options.model)
        self._restore: Restore | None = None if options.restore == "auto" else options.restore
        self._loaded = _Loaded()
        _check(self._model, options)

    @property
    def depends_on_source(self) -> bool:
        """Whether the networks depend on how strongly the source was compressed; see :meth:`restoring`."""
        return self._model is None and self._restore is None

    def restoring(self, level: Restore) -> Choice:
        """The same choice for a source that needs the networks of ``level``; what is loaded is shared."""
        other = copy.copy(self)
        other._restore = level
        return other

    def sessions(self, source: Size, target: Size, plane: Plane, dtype: np.dtype[Any]) -> list[Session]:
        """The networks from ``source`` to at least ``target``, in order, for a plane of this kind.

        ``dtype`` is uint8 or uint16. Only the first one restores: its output is clean. Alpha is never
        restored. Networks for drawings do every pass, also those of alpha. Loads them.
        Raises :class:`ModelError` and :class:`UsageError` where there is none.
        """
        first = self._restore or "off"
        further: Restore = "drawing" if first == "drawing" else "off"
        return [
            self._session(scale, plane.colour, dtype, further if place or plane.alpha else first)
            for place, scale in enumerate(self.scales(source, target))
        ]

    def scales(self, source: Size, target: Size) -> tuple[int, ...]:
        """The factor of each network from ``source`` to at least ``target``, in order."""
        named = self._named
        return chain_for(source, target) if named is None else repeated_chain(named.scale, source, target)

    @property
    def keeps_range(self) -> bool:
        """Whether answers have to stay within the range of the source pixels around, since it is drawn."""
        named = self._named
        return (self._restore if named is None else named.restore) == "drawing"

    @property
    def splits_luma(self) -> bool:
        """Whether a colour picture is split, and only its Y′ goes through the network.

        A named model decides by its own colours; ``auto`` means all channels.
        """
        named = self._named
        return self._options.color == "ycbcr" if named is None else named.colour == "luma"

    def colour_for(self, channels: int) -> Colour:
        """What kind of network the colours of a picture with ``channels`` (1 to 4) go through."""
        return "luma" if channels <= 2 or self.splits_luma else "rgb"

    def planes(self, channels: int) -> list[Plane]:
        """What goes through networks: the colours and, with 2 or 4 ``channels``, the alpha behind them."""
        colours = Plane(self.colour_for(channels))
        return [colours, Plane("luma", alpha=True)] if channels in (2, 4) else [colours]

    @property
    def foreign(self) -> bool:
        """Whether a foreign model runs: an ONNX file without a manifest."""
        return isinstance(self._model, Path)

    @property
    def works_in_tiles(self) -> bool:
        """Whether pictures are cut into tiles. They are not where the model's halo is unknown."""
        named = self._named
        return named is None or named.halo is not None

    @property
    def _named(self) -> ModelSpec | None:
        """The description of the model that the options name, if any. Loads a foreign one."""
        return self._foreign(self._model).spec if isinstance(self._model, Path) else self._model

    @property
    def loaded(self) -> list[Session]:
        """The networks that have been loaded so far."""
        return self._loaded.all()

    def use(self, session: Session) -> None:
        """Use this network from now on, as if it had been named."""
        self._model = session.spec
        self._loaded.get(session.spec.name, lambda: session)

    def forget(self) -> None:
        """Drop the loaded networks. They are loaded again when they are needed."""
        self._loaded.forget()

    def _session(self, scale: int, colour: Colour, dtype: np.dtype[Any], restore: Restore) -> Session:
        if isinstance(self._model, Path):
            return self._foreign(self._model)
        named = self._model
        if named is not None and dtype == np.uint16 and named.precision == "int8":
            deeper = named.name.replace("int8", "fp32")
            raise ModelError(f"{named.name} works in 8 bits and the picture has 16; use {deeper}")
        if named is not None and colour == named.colour:
            spec = named
        else:
            spec = _bundled(scale, colour, self._precision(dtype), restore)
        return self._loaded.get(spec.name, lambda: open_session(spec, self._options, callers=self._threads))

    def _foreign(self, path: Path) -> Session:
        return self._loaded.get(str(path), lambda: self._open_foreign(path))

    def _open_foreign(self, path: Path) -> Session:
        options = self._options
        session = Session.foreign(path, halo=options.halo, threads=self._threads, provider=options.provider)
        _check_foreign(session.spec, options)
        return session

    def _precision(self, dtype: np.dtype[Any]) -> ModelPrecision:
        wanted = self._model.precision if isinstance(self._model, ModelSpec) else self._options.precision
        if dtype == np.uint16:
            if wanted == "int8":
                raise UsageError("--precision int8 would cut a 16-bit picture to 8 bits; leave it out")
            return "fp32"
        return "fp32" if wanted == "fp32" else "int8"


def _bundled(scale: int, colour: Colour, precision: ModelPrecision, restore: Restore) -> ModelSpec:
    """The network of this kind; the one for clean sources where ``restore`` has none, as for drawn luma."""
    same = bundled_models(colour, precision, restore)
    exists = any((spec.scale, spec.restore) == (scale, restore) for spec in same)
    return bundled_model(scale, colour, precision, restore if exists else "off")


def chain_for(source: Size, target: Size) -> tuple[int, ...]:
    """The bundled models' scales whose product just reaches ``target`` from ``source``.

    >>> chain_for(Size(width=100, height=100), Size(width=250, height=250))
    (3,)
    """
    factor = max(target.width / source.width, target.height / source.height)
    return next(chain for chain in CHAINS if math.prod(chain) >= factor)


def repeated_chain(scale: int, source: Size, target: Size) -> tuple[int, ...]:
    """The same for a single model of one ``scale``, which runs as often as needed.

    >>> repeated_chain(2, Size(width=100, height=100), Size(width=250, height=250))
    (2, 2)
    """
    factor = max(target.width / source.width, target.height / source.height)
    times = 1
    while scale**times < factor:
        times += 1
    return (scale,) * times


def _check(model: ModelSpec | Path | None, options: EngineOptions) -> None:
    """Refuse options that the model would ignore."""
    if options.halo is not None and not isinstance(model, Path):
        raise UsageError(
            "--halo is for an ONNX file of your own, given with --model; other models know theirs"
        )
    if options.tile is not None and options.halo is None and isinstance(model, Path):
        raise UsageError(f"--tile needs --halo as well: the receptive field of {model} is not known")
    if model is None:
        return
    if isinstance(model, ModelSpec):
        _check_colours(model, model.name, options)
    precision = model.precision if isinstance(model, ModelSpec) else "fp32"
    name = model.name if isinstance(model, ModelSpec) else model
    if options.precision not in ("auto", precision):
        raise UsageError(f"--precision {options.precision} contradicts --model {name}; give one of the two")


def _check_foreign(model: ModelSpec, options: EngineOptions) -> None:
    """Refuse options that a foreign model would ignore, once it is loaded."""
    _check_colours(model, str(model.path), options)
    if options.tile is None:
        return
    if model.form.size is not None:
        raise UsageError(
            f"--tile contradicts --model {model.path}, which takes {model.form.size} pixels only"
        )
    if model.halo is None:
        raise UsageError(f"--tile needs --halo as well: the receptive field of {model.path} is not known")


def _check_colours(model: ModelSpec, name: str, options: EngineOptions) -> None:
    colour = "ycbcr" if model.colour == "luma" else "rgb"
    if options.color not in ("auto", colour):
        raise UsageError(f"--color {options.color} contradicts --model {name}, which works on {colour}")
