"""Foreign networks (ONNX files without a manifest): form from the file, scale and range from a trial run."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from xlsr_cli.engine.models import FloatType, ModelSpec, TensorForm
from xlsr_cli.errors import ModelError, UsageError
from xlsr_cli.options import Size

Pixels = NDArray[Any]

#: What a message about a network that is refused ends with.
UNDERSTOOD = (
    "xlsr understands one input of one picture, float32 or float16, NCHW or NHWC, RGB or Y′ alone, of any "
    "size or of one, in 0 to 1 or 0 to 255; a model of xlsr's own training needs its manifest.toml beside it"
)
_FLOATS: dict[str, FloatType] = {"tensor(float)": "float32", "tensor(float16)": "float16"}
#: The trial picture, where the network takes any size: not square, so that sides cannot be confused.
_TRIAL = Size(width=72, height=64)
#: The halo, in pixels, of a network that takes one size only and whose own is not known; at most a quarter of
#: a side.
_HALO = 16
_TOPS = (1.0, 255.0)
#: A picture in the right range comes back enlarged with an error below this, in parts of the range.
_ALIKE = 0.02


class Tensor(Protocol):
    """An input or output as onnxruntime describes it; a side that may vary is not a number."""

    name: str
    type: str
    shape: list[Any]


class Found(NamedTuple):
    """What the file says about its network."""

    colours: int
    form: TensorForm


def read_form(inputs: Sequence[Tensor], path: Path) -> Found:
    """How the network in ``path`` with these ``inputs`` takes pictures.

    Raises :class:`ModelError`, which says what was found and what is understood.
    """
    if len(inputs) != 1:
        names = ", ".join(tensor.name for tensor in inputs)
        raise _refused(path, f"it has {len(inputs)} inputs ({names})")
    kind, shape = inputs[0].type, inputs[0].shape
    if kind not in _FLOATS:
        raise _refused(path, f"it takes {kind} of shape {shape}")
    if len(shape) != 4 or (isinstance(shape[0], int) and shape[0] != 1):
        raise _refused(path, f"it takes the shape {shape}")
    first, last = shape[1], shape[3]
    channels_last = first not in (1, 3) and last in (1, 3)
    colours = last if channels_last else first
    if isinstance(colours, int) and colours not in (1, 3):
        raise _refused(path, f"it takes {colours} channels, in the shape {shape}")
    sides = shape[1:3] if channels_last else shape[2:4]
    form = TensorForm(
        dtype=_FLOATS[kind], channels_last=channels_last, answer_last=channels_last, size=_only_size(sides)
    )
    return Found(colours=colours if isinstance(colours, int) else 3, form=form)


def describe(
    found: Found, run: Callable[[Pixels], Pixels], path: Path, *, halo: int | None, sha256: str
) -> ModelSpec:
    """Describe the network; its scale and range are found by running it on a small picture.

    ``run`` runs the network. ``halo`` is the user's. Raises
    :class:`ModelError` where the answer is no enlarged picture, :class:`UsageError` where the halo leaves
    nothing of a network's only size.
    """
    picture = _trial_picture(found.form.size or _TRIAL, found.colours)
    answers = {top: _tried(run, picture, replace(found.form, top=top), path) for top in _TOPS}
    scale, answer_last = _scale(picture, answers[1.0], found.form, path)
    form = replace(found.form, answer_last=answer_last)
    pictures = {top: _channels_at_end(answer, form) for top, answer in answers.items()}
    top, answer_top = _range(picture, pictures, scale)
    return ModelSpec(
        name=path.stem,
        path=path,
        scale=scale,
        colour="rgb" if found.colours == 3 else "luma",
        precision="fp32",
        layout="planes",
        halo=_halo(halo, form.size, path),
        input_channels=found.colours,
        sha256=sha256,
        form=replace(form, top=top, answer_top=answer_top),
    )


def in_words(spec: ModelSpec) -> str:
    """What was found out about a network, in words."""
    form = spec.form
    ranges = [f"0 to {top:g}" for top in (form.top, form.answer_top)]
    return ", ".join(
        [
            f"x{spec.scale}",
            form.dtype,
            "NHWC" if form.channels_last else "NCHW",
            "RGB" if spec.colours == 3 else "Y′ alone",
            ranges[0] if ranges[0] == ranges[1] else " in and ".join(ranges) + " out",
            "any size" if form.size is None else f"{form.size} pixels only",
            "the picture at once" if spec.halo is None else f"in tiles with a halo of {spec.halo}",
        ]
    )


def to_tensor(picture: NDArray[np.float32], form: TensorForm) -> Pixels:
    """A picture (H, W, C), float32 RGB or Y′ in 0 … 1, as the network takes it: four dimensions."""
    ordered = picture if form.channels_last else picture.transpose(2, 0, 1)
    return np.ascontiguousarray(ordered[None] * np.float32(form.top), dtype=form.dtype)


def from_tensor(answer: Pixels, form: TensorForm) -> NDArray[np.float32]:
    """What the network answered, as a picture (H, W, C): float32, 0 … 1 where the network keeps to it."""
    picture = _channels_at_end(answer, form).astype(np.float32)
    return np.asarray(picture / np.float32(form.answer_top))


def _refused(path: Path, found: str) -> ModelError:
    return ModelError(f"{path} is not a network that xlsr understands: {found}; {UNDERSTOOD}")


def _only_size(sides: list[Any]) -> Size | None:
    """The size in pixels that the network is bound to; a square where only one side is."""
    fixed = [side for side in sides if isinstance(side, int)]
    if not fixed:
        return None
    height, width = (side if isinstance(side, int) else fixed[0] for side in sides)
    return Size(width=width, height=height)


def _halo(asked: int | None, size: Size | None, path: Path) -> int | None:
    if size is None:
        return asked
    smaller = min(size.width, size.height)
    if asked is None:
        return min(_HALO, smaller // 4)
    if 2 * asked >= smaller:
        raise UsageError(f"--halo {asked} leaves nothing of the {size} pixels that {path} takes at a time")
    return asked


def _trial_picture(size: Size, colours: int) -> NDArray[np.float32]:
    """Waves, (H, W, C) in 0.1 … 0.9, another one in each channel."""
    rows, columns, channels = np.ogrid[0 : size.height, 0 : size.width, 0:colours]
    waves = np.sin(rows * (0.11 + 0.03 * channels)) + np.cos(columns * 0.13 + channels)
    return np.asarray(0.5 + 0.2 * waves, dtype=np.float32)


def _tried(
    run: Callable[[Pixels], Pixels], picture: NDArray[np.float32], form: TensorForm, path: Path
) -> Pixels:
    try:
        return run(to_tensor(picture, form))
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModelError(f"{path} fails on a small test picture: {reason}") from error


def _scale(picture: Pixels, answer: Pixels, form: TensorForm, path: Path) -> tuple[int, bool]:
    """The whole factor by which the output is larger, and whether its channels are last."""
    height, width, colours = picture.shape
    for channels_last in (form.channels_last, not form.channels_last):
        shape = _channels_at_end(answer, replace(form, answer_last=channels_last)).shape
        scale = shape[0] // height
        if answer.ndim == 4 and scale >= 2 and shape == (height * scale, width * scale, colours):
            return scale, channels_last
    given = to_tensor(picture, form).shape
    raise ModelError(
        f"{path} answers {answer.shape} to a picture of {given}: that is no super-resolution by a whole "
        f"factor of 2 or more with as many channels; {UNDERSTOOD}"
    )


def _channels_at_end(answer: Pixels, form: TensorForm) -> Pixels:
    """The answer's first picture, (H, W, C); what has not four dimensions stays as it is."""
    if answer.ndim != 4:
        return answer
    return np.asarray(answer[0] if form.answer_last else answer[0].transpose(1, 2, 0))


def _range(picture: Pixels, answers: dict[float, Pixels], scale: int) -> tuple[float, float]:
    """The largest value of input and of output: 1 and 1, unless another range gives the picture back better.

    The mean of each block of the answer should be the pixel that it was made of.
    """
    errors = {
        (top, answer_top): _difference(picture, answers[top], scale, answer_top)
        for top, answer_top in itertools.product(_TOPS, _TOPS)
    }
    usual = (1.0, 1.0)
    best = min(errors, key=lambda tops: errors[tops])
    return usual if errors[usual] <= max(_ALIKE, 2 * errors[best]) else best


def _difference(picture: Pixels, answer: Pixels, scale: int, top: float) -> float:
    """Root mean square of picture and shrunk answer, borders left out; infinite where it is no number."""
    height, width, colours = picture.shape
    blocks = answer.astype(np.float64).reshape(height, scale, width, scale, colours)
    inner = (slice(height // 8, -(height // 8) or None), slice(width // 8, -(width // 8) or None))
    error = math.sqrt(np.mean((blocks.mean(axis=(1, 3)) / top - picture)[inner] ** 2))
    return error if math.isfinite(error) else math.inf
