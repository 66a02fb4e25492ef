"""What models there are and what each one is: the manifest, read and checked."""

from __future__ import annotations

import functools
import hashlib
import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from xlsr_cli.engine.reading import read_at_most
from xlsr_cli.errors import ModelError
from xlsr_cli.options import Size

Colour = Literal["rgb", "luma"]
ModelPrecision = Literal["int8", "fp32"]
#: What sources a network was trained for: clean ones (``off``: nothing to restore), lightly or strongly
#: compressed ones, or drawings (screenshots, pixel art, line art).
Restore = Literal["off", "light", "strong", "drawing"]
#: How a network takes and gives tiles. ``runs``: NHWC, valid convolutions, output channels in an order in
#: which depth-to-space copies runs of values; the bundled float32 models do. ``windows``: the same, but each
#: pixel brings the 3×3 around it as channels, as :func:`xlsr_cli.engine.tiles.tile.windows` makes them; the
#: int8 models do.
#: ``planes``: floats in the order of a :class:`TensorForm`; the output is the input's size times the scale.
TensorLayout = Literal["runs", "windows", "planes"]
FloatType = Literal["float32", "float16"]


#: What the table of a model begins with in a manifest.
_TABLE = "[[model]]"


@dataclass(frozen=True, kw_only=True)
class TensorForm:
    """How a network of layout ``planes`` takes pictures and gives them.

    ``dtype`` of the input, whose channels are last (NHWC) or not (NCHW), in 0 … ``top``; ``answer_last`` and
    ``answer_top`` say the same of the output. ``size``: the only one that it takes, in pixels; None is any.
    """

    dtype: FloatType = "float32"
    channels_last: bool = False
    answer_last: bool = False
    top: float = 1.0
    answer_top: float = 1.0
    size: Size | None = None


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """One model file and everything that is needed to run it.

    ``halo`` is the receptive-field radius in input pixels; None when it is not known, and the whole
    picture must be one tile. ``macs`` counts multiply-accumulates per input pixel. ``golden`` is the
    sha256 of the answer to :func:`xlsr_cli.engine.golden.golden_input` (int8), ``golden_samples`` some
    of its values (fp32). ``psnr`` maps ``Set5`` … to dB on luma. ``form`` is known of foreign models only.
    """

    name: str
    path: Path
    scale: int
    colour: Colour
    precision: ModelPrecision
    restore: Restore = "off"
    layout: TensorLayout = "runs"
    halo: int | None
    input_channels: int
    sha256: str
    parameters: int = 0
    macs: int = 0
    golden: str = ""
    golden_samples: tuple[float, ...] = ()
    recipe: str = ""
    revision: str = ""
    licence: str = ""
    psnr: dict[str, float] = field(default_factory=dict)
    form: TensorForm = TensorForm()

    @property
    def colours(self) -> int:
        """How many colour channels come out: 3 or 1."""
        return 3 if self.colour == "rgb" else 1


def models_folder() -> Path:
    """The folder of the bundled models: inside the installed package, or beside ``src`` in a checkout."""
    installed = Path(__file__).resolve().parent.parent / "models"
    if (installed / "manifest.toml").is_file():
        return installed
    return Path(__file__).resolve().parents[3] / "models"


def read_manifest(folder: Path, *words: str) -> tuple[ModelSpec, ...]:
    """Every model that ``manifest.toml`` in ``folder`` describes, in its order.

    ``words``: only models that have each of them as a value, such as ``rgb``. Tables without them are not
    parsed: all tables take 8 ms, of the quarter of a second that a small picture takes. Raises
    :class:`ModelError` when the manifest is missing or damaged.
    """
    path = folder / "manifest.toml"
    try:
        head, *tables = _text_of(path).split(_TABLE)
        wanted = [table for table in tables if all(f'"{word}"' in table for word in words)]
        if tables and not wanted:
            return ()
        manifest: dict[str, Any] = tomllib.loads(_TABLE.join([head, *wanted]))
        return tuple(_spec(folder, entry) for entry in manifest["model"])
    except (ValueError, KeyError, TypeError) as error:
        raise _no_list(path, error) from error


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise _no_list(path, error) from error


def _no_list(path: Path, error: Exception) -> ModelError:
    return ModelError(f"the list of models {path} is missing or damaged ({error}); reinstall xlsr-cli")


def _spec(folder: Path, entry: dict[str, Any]) -> ModelSpec:
    values = dict(entry)
    values["path"] = folder / values.pop("file")
    values["golden_samples"] = tuple(values.get("golden_samples", ()))
    spec = ModelSpec(**values)
    if (spec.precision == "int8") != (spec.layout == "windows"):
        raise ValueError(f"{spec.name} is {spec.precision} and has the layout {spec.layout!r}")
    return spec


@functools.cache
def bundled_models(*words: str) -> tuple[ModelSpec, ...]:
    """Every bundled model, or those that have each of ``words`` as a value.

    Raises :class:`ModelError` when the installation is damaged.
    """
    return read_manifest(models_folder(), *words)


def bundled_hashes() -> list[str]:
    """The sha256 of every bundled model's file, in order, without parsing anything else.

    Raises :class:`ModelError` when the installation is damaged.
    """
    return sorted(re.findall(r'(?m)^sha256 = "([0-9a-f]{64})"$', _text_of(models_folder() / "manifest.toml")))


def bundled_model(
    scale: int, colour: Colour, precision: ModelPrecision, restore: Restore = "off"
) -> ModelSpec:
    """The bundled model for ``scale`` (2, 3 or 4) and ``restore``, of just that kind.

    Raises :class:`ModelError` when there is none.
    """
    wanted = (scale, colour, precision, restore)
    for spec in bundled_models(colour, precision, restore):
        if (spec.scale, spec.colour, spec.precision, spec.restore) == wanted:
            return spec
    kind = "" if restore == "off" else f", {restore}"
    raise ModelError(
        f"no bundled model for x{scale}, {colour}, {precision}{kind}; 'xlsr models list' shows what there is"
    )


def find_model(name: str) -> ModelSpec | Path:
    """A bundled model by name, or the path of another model file.

    A path is anything that has an ``.onnx`` suffix or exists; a ``manifest.toml`` beside the file that
    describes it, as ``training`` writes one, makes it a model like the bundled ones. Raises
    :class:`ModelError` for a name that is neither.
    """
    path = Path(name)
    whole = path.resolve()
    for spec in bundled_models():
        if name in (spec.name, spec.path.name) or whole == spec.path:
            return spec
    if path.suffix.lower() == ".onnx" or path.exists():
        return _described_beside(path) or path
    names = ", ".join(spec.name for spec in bundled_models())
    raise ModelError(f"no model is called {name!r}; give the path of an .onnx file or one of: {names}")


def _described_beside(path: Path) -> ModelSpec | None:
    if not (path.parent / "manifest.toml").is_file():
        return None
    return next((spec for spec in read_manifest(path.parent) if spec.path.name == path.name), None)


def load_bytes(spec: ModelSpec) -> bytes:
    """The model file's bytes, checked against ``spec.sha256``.

    Raises :class:`ModelError` when the file is missing or is not the one that was described.
    """
    content = read_model_file(spec.path)
    if spec.sha256 and hashlib.sha256(content).hexdigest() != spec.sha256:
        raise ModelError(
            f"the model file {spec.path} is damaged (its sha256 is not the manifest's); reinstall xlsr-cli"
        )
    return content


def read_model_file(path: Path) -> bytes:
    """The bytes of any model file. Raises :class:`ModelError` when it cannot be read."""
    try:
        with path.open("rb") as file:
            content = read_at_most(file, _MOST_BYTES)
    except OSError as error:
        raise ModelError(f"cannot read the model file {path}: {error.strerror or error}") from error
    if content is None:
        raise ModelError(
            f"the model file {path} has more than {_MOST_BYTES >> 20} MB, which no network here has"
        )
    return content


#: Of a model file: a network for this program takes kilobytes, and one from outside some hundred megabytes.
_MOST_BYTES = 1 << 30
