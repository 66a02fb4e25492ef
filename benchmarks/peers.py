"""Compare other ways to enlarge the same pictures, side by side in one run: speed and PSNR.

``python -m benchmarks.peers --threads 2``; with ``--write`` into docs/performance.md. Everything goes
from a BGR uint8 array to a BGR uint8 array. PSNR needs the pictures of Set5 and Set14 as PNG files, in
folders of these names: ``--pictures FOLDER``. The published network is scored with weights of its own,
which take some ten minutes: ``python -m training.train benchmarks/published_x3_rgb.toml --pictures FOLDER``.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from benchmarks import runtimes
from benchmarks.harness import (
    PAGE,
    SOURCE,
    machine_line,
    milliseconds,
    on_picture,
    parser,
    publish,
    table,
)
from benchmarks.networks import (
    straight_weights,
    write_ncnn,
    write_onnx,
    write_stock_quantized,
)
from benchmarks.pairs import Measured, side_by_side
from benchmarks.runtimes import NotThere, Pixels, Upscale
from training.network import XLSR
from xlsr_cli.bench.pictures import made_picture
from xlsr_cli.bench.plot import Point, points_chart
from xlsr_cli.engine.models import bundled_model
from xlsr_cli.engine.upscaler import Upscaler
from xlsr_cli.machine import this_machine
from xlsr_cli.quality.bicubic import shrink
from xlsr_cli.quality.metrics import luma_psnr

SCALE = 3
SETS = ("Set5", "Set14")
_ROOT = Path(__file__).resolve().parents[1]
PICTURES = _ROOT.parent / "shared" / "data" / "eval"
#: Where training puts the published network that ``published_x3_rgb.toml`` describes.
PUBLISHED = _ROOT / "runs" / "published_x3_rgb"
#: The name of the chart, beside the page.
_CHART = "performance.png"


@dataclass(frozen=True, kw_only=True)
class Peer:
    """One way to enlarge a picture ``SCALE`` times. ``scored``: it has trained weights, so that PSNR
    means something."""

    upscale: Upscale
    scored: bool = True
    ours: bool = False


def peers(options: argparse.Namespace, folder: Path) -> tuple[dict[str, Peer], list[str]]:
    """The ways that are installed here, and one line about each that is not."""
    found: dict[str, Peer] = {}
    missing: list[str] = []
    for add in (_ours, _straight, _openvino, _ncnn, _dnn_superres, _filters):
        try:
            for name, peer in add(options, folder):
                found[name] = peer
        except (ImportError, NotThere) as error:
            missing.append(f"Left out: {error}.")
    return found, missing


def _ours(options: argparse.Namespace, folder: Path) -> Iterator[tuple[str, Peer]]:
    ours = partial(Upscaler, SCALE, threads=options.threads, restore="off")
    yield "**xlsr int8**", Peer(upscale=ours(), ours=True)
    yield "xlsr int8, Y′ only", Peer(upscale=ours(color="ycbcr"), ours=True)
    yield "xlsr float32", Peer(upscale=ours(precision="fp32"), ours=True)


def _straight(options: argparse.Namespace, folder: Path) -> Iterator[tuple[str, Peer]]:
    """The published layers in onnxruntime: float32, and by its stock static quantizer."""
    network = _trained(options.straight)
    path, quantized = folder / "straight.onnx", folder / "stock.onnx"
    write_onnx(straight_weights(network, SCALE), SCALE, path)
    write_stock_quantized(path, runtimes.planes_of(made_picture(SOURCE)), quantized)
    for name, file in (("float32", path), ("stock-quantized", quantized)):
        run = runtimes.through_planes(runtimes.onnxruntime_planes(file, options.threads))
        yield f"XLSR {name}, onnxruntime", Peer(upscale=run, scored=network is not None)


def _openvino(options: argparse.Namespace, folder: Path) -> Iterator[tuple[str, Peer]]:
    version = runtimes.openvino_version()
    spec = bundled_model(SCALE, "rgb", "int8")
    yield (
        f"xlsr's int8 graph, OpenVINO {version}",
        Peer(upscale=runtimes.openvino_runs(spec, options.threads)),
    )
    for name, file in (("float32", "straight.onnx"), ("stock-quantized", "stock.onnx")):
        run = runtimes.through_planes(runtimes.openvino_call(folder / file, options.threads))
        yield f"XLSR {name}, OpenVINO {version}", Peer(upscale=run, scored=bool(options.straight))


def _ncnn(options: argparse.Namespace, folder: Path) -> Iterator[tuple[str, Peer]]:
    version = runtimes.ncnn_version()
    param, binary = folder / "xlsr.param", folder / "xlsr.bin"
    network = _trained(options.straight)
    write_ncnn(straight_weights(network, SCALE), SCALE, param, binary)
    run = runtimes.through_planes(runtimes.ncnn_planes(param, binary, options.threads))
    yield f"XLSR float32, ncnn {version}", Peer(upscale=run, scored=network is not None)


def _dnn_superres(options: argparse.Namespace, folder: Path) -> Iterator[tuple[str, Peer]]:
    if not options.dnn_superres:
        raise NotThere("OpenCV's dnn_superres, for want of model files (--dnn-superres fsrcnn=FSRCNN_x3.pb)")
    for given in options.dnn_superres:
        name, _, path = given.partition("=")
        yield f"{Path(path).stem}, OpenCV", Peer(upscale=runtimes.dnn_superres(Path(path), name, SCALE))


def _filters(options: argparse.Namespace, folder: Path) -> Iterator[tuple[str, Peer]]:
    yield "Lanczos, OpenCV", Peer(upscale=runtimes.opencv_resize(SCALE, cv2.INTER_LANCZOS4))
    yield "bicubic, OpenCV", Peer(upscale=runtimes.opencv_resize(SCALE, cv2.INTER_CUBIC))
    for name in ("lanczos", "bicubic"):
        label = "Lanczos" if name == "lanczos" else name
        yield f"{label}, ffmpeg's scale", Peer(upscale=runtimes.swscale(SCALE, name, options.threads))


def _trained(run: Path | None) -> XLSR | None:
    """The published network from the folder of a training run; None when no folder is given."""
    if run is None:
        return None
    from training.recipe import Recipe
    from training.train import load_checkpoint, restore_network

    checkpoint = load_checkpoint(run)
    if checkpoint is None:
        raise SystemExit(f"{run} holds no checkpoint")
    network = restore_network(Recipe(**checkpoint["recipe"]), checkpoint)
    if not isinstance(network, XLSR):
        raise SystemExit(f"{run} did not train the published form of the network")
    return network


def scores(upscale: Upscale, pictures: Path) -> dict[str, float]:
    """Mean PSNR in dB on luma over the PNG files of each set that is in ``pictures``."""
    found = {}
    for name in SETS:
        files = sorted((pictures / name).glob("*.png"))
        if files:
            found[name] = float(np.mean([_score(upscale, file) for file in files]))
    return found


def _score(upscale: Upscale, file: Path) -> float:
    picture = cv2.imdecode(np.frombuffer(file.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)
    assert picture is not None, file
    height, width = (side // SCALE * SCALE for side in picture.shape[:2])
    reference = np.asarray(picture[:height, :width], dtype=np.uint8)
    return luma_psnr(reference, _any_channels(upscale)(shrink(reference, SCALE)), SCALE)


def _any_channels(upscale: Upscale) -> Callable[[Pixels], Pixels]:
    """Give a gray picture to networks for colour as three channels, and return one."""

    def run(picture: Pixels) -> Pixels:
        if picture.ndim == 3 or isinstance(upscale, Upscaler):
            return np.asarray(upscale(picture))
        return np.asarray(cv2.cvtColor(upscale(np.dstack([picture] * 3)), cv2.COLOR_BGR2GRAY))

    return run


def render(
    found: dict[str, Peer], measured: Measured, scored: dict[str, dict[str, float]], missing: list[str]
) -> str:
    """The table, fastest first."""
    rows = []
    for name in sorted(found, key=lambda name: measured.timings[name].seconds):
        timing = measured.timings[name]
        dB = [f"{scored[name][set_]:.2f}" if set_ in scored.get(name, {}) else "–" for set_ in SETS]
        rows.append([name, milliseconds(timing), str(measured.ratios[name]), *dB])
    head = [f"{SOURCE} → 1920x1080", "ms", "times xlsr's", *(f"{name}, dB" for name in SETS)]
    return "\n".join([table(head, rows), "", *missing]).rstrip()


def chart(
    found: dict[str, Peer], measured: Measured, scored: dict[str, dict[str, float]], threads: int
) -> bytes | None:
    """Speed against Set14 of everything that has a score, as PNG; None where nothing has."""
    cpu = this_machine().cpu
    points = [
        Point(
            name=name.replace("*", ""),
            timing=measured.timings[name],
            psnr=scored[name]["Set14"],
            ours=peer.ours,
        )
        for name, peer in found.items()
        if "Set14" in scored.get(name, {})
    ]
    if not points:
        return None
    return points_chart(
        points,
        title=f"{cpu.model} · {cpu.kernel} · {threads} threads",
        what=f"{SOURCE} → 1920x1080",
        quality="Set14, PSNR on luma",
    )


def _without_broken(scored: dict[str, dict[str, float]]) -> list[str]:
    """Remove from ``scored`` what is far below bicubic, which is a fault; return a sentence for each.

    The same file may be right in another runtime.
    """
    floor = min(scored.get("bicubic, OpenCV", {}).values(), default=0.0) - 3.0
    lowest = {name: min(found.values(), default=floor) for name, found in scored.items()}
    broken = {name: psnr for name, psnr in lowest.items() if psnr < floor}
    for name in broken:
        del scored[name]
    return [
        f"{name} gave wrong pixels ({psnr:.1f} dB), for reasons that were not looked into: its speed counts "
        "for what it is worth, and it has no score."
        for name, psnr in broken.items()
    ]


def add_options(options: argparse.ArgumentParser) -> None:
    """The options that only this benchmark has."""
    options.add_argument("--pictures", type=Path, default=PICTURES, help="folder with Set5 and Set14")
    options.add_argument(
        "--straight",
        type=Path,
        default=PUBLISHED if PUBLISHED.is_dir() else None,
        help="folder of a run that trained the published form; runs/published_x3_rgb where there is one",
    )
    options.add_argument(
        "--dnn-superres",
        action="append",
        metavar="NAME=FILE.pb",
        help="a network for OpenCV's dnn_superres, such as fsrcnn=FSRCNN_x3.pb; may be repeated",
    )


def main(options: argparse.Namespace) -> None:
    """Measure, print, and write table and chart where it is asked for."""
    with tempfile.TemporaryDirectory() as name:
        found, missing = peers(options, Path(name))
        cv2.setNumThreads(options.threads)
        runs = on_picture({name: peer.upscale for name, peer in found.items()})
        measured = side_by_side(runs, threads=options.threads, repeats=options.repeats)
        scored = {name: scores(peer.upscale, options.pictures) for name, peer in found.items() if peer.scored}
    missing += _without_broken(scored)
    missing.append('xlsr runs with `restore="off"`, as the sources are clean.')
    if options.straight is None:
        missing.append(
            "The published network has random weights here, which changes its speed in nothing, and no score."
        )
    text = [machine_line(options.threads), "", render(found, measured, scored, missing)]
    drawn = chart(found, measured, scored, options.threads)
    if drawn is not None:
        text += ["", f"![Speed against quality of everything in the table]({_CHART})"]
    publish("peers", "\n".join(text), measured.noise, options)
    if options.write and drawn is not None:
        PAGE.with_name(_CHART).write_bytes(drawn)


if __name__ == "__main__":
    command = parser(__doc__)
    add_options(command)
    main(command.parse_args())
