"""Measure the engine: beside the straight float32 export, layer by layer, model by model.

``python -m benchmarks.engine --threads 2``; with ``--write`` into docs/performance.md. 640×360 to
1920×1080 at ×3, from a BGR uint8 array to a BGR uint8 array, depth-to-space included.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

from benchmarks import runtimes
from benchmarks.harness import (
    SOURCE,
    machine_line,
    milliseconds,
    on_picture,
    parser,
    publish,
    table,
)
from benchmarks.networks import straight_macs, straight_weights, write_onnx, write_peak
from benchmarks.pairs import side_by_side
from xlsr_cli.bench.noise import Noise
from xlsr_cli.bench.pictures import made_picture
from xlsr_cli.engine.models import bundled_model, bundled_models
from xlsr_cli.engine.tiles import tiling
from xlsr_cli.engine.tiles.tile import windows
from xlsr_cli.engine.upscaler import Upscaler

SCALE = 3
_PEAK_SIDE, _PEAK_CHANNELS = 96, 256
_PROFILED_RUNS = 15

OURS = '**xlsr int8**, array to array, `restore="off"`'
AUTO = "the same, looking first how the picture was compressed (`auto`, the default)"
OURS_ALONE = "the same, 1 thread"
LUMA = 'the same, Y′ alone (`color="ycbcr"`)'
FOLDED = "the same, float32 graph"
GRAPH = "straight float32 export, onnxruntime, the graph alone"
STRAIGHT = "straight float32 export, onnxruntime, array to array"
OPENVINO = "the same int8 graph in the package openvino, array to array"


def compare(options: argparse.Namespace, folder: Path) -> tuple[str, Noise]:
    """The engine beside the straight float32 export: the text and how noisy it was."""
    threads = options.threads
    straight, peak = folder / "straight.onnx", folder / "peak.onnx"
    write_onnx(straight_weights(None, SCALE), SCALE, straight)
    peak_macs = write_peak(peak, _PEAK_CHANNELS) * _PEAK_SIDE**2
    planes = runtimes.planes_of(made_picture(SOURCE))
    run_straight = runtimes.onnxruntime_planes(straight, threads)
    spec = bundled_model(SCALE, "rgb", "int8")
    ours = partial(Upscaler, SCALE, restore="off")
    upscalers: dict[str, Callable[..., object]] = {
        OURS: ours(threads=threads),
        AUTO: Upscaler(SCALE, threads=threads),
        OURS_ALONE: ours(threads=1),
        LUMA: ours(threads=threads, color="ycbcr"),
        FOLDED: ours(threads=threads, precision="fp32"),
        STRAIGHT: runtimes.through_planes(run_straight),
    }
    notes = []
    try:
        notes.append(f"OpenVINO {runtimes.openvino_version()}.")
        upscalers[OPENVINO] = runtimes.openvino_runs(spec, threads)
    except ImportError:
        notes = ["OpenVINO is not installed (`pip install openvino`) and was left out."]
    measured = side_by_side(
        on_picture(upscalers) | {GRAPH: lambda: run_straight(planes), "peak": _peak_run(peak, threads)},
        threads=threads,
        repeats=options.repeats,
    )
    timings, ratios = measured.timings, measured.ratios
    taken = timings[OURS].seconds
    rows = [
        [name, milliseconds(timings[name]), "1" if name == OURS else str(ratios[name])]
        for name in (OURS, AUTO, OURS_ALONE, LUMA, FOLDED, GRAPH, STRAIGHT, OPENVINO)
        if name in timings
    ]
    speed = peak_macs / timings["peak"].seconds
    least = spec.macs * SOURCE.pixels / speed
    text = [
        machine_line(threads),
        "",
        table([f"{SOURCE} → 1920x1080, {threads} threads", "ms", "times ours"], rows),
        "",
        f"From array to array, xlsr is **{ratios[STRAIGHT].median:.2f} times** as fast as the straight "
        f"float32 export ({straight_macs(SCALE):,} MAC per pixel, random weights), and "
        f"{ratios[GRAPH].median:.2f} times as fast as the graph of it alone; with the look of `auto` "
        f"{ratios[STRAIGHT].median / ratios[AUTO].median:.2f} times from array to array. This machine's "
        f"integer peak, {_PEAK_CHANNELS} channels wide in the same runtime, is {speed / 1e12:.2f} TMAC/s: at "
        f"that speed, the folded graph's {spec.macs * SOURCE.pixels / 1e9:.1f} GMAC would take "
        f"{least * 1e3:.1f} ms; they take {taken * 1e3:.1f} ms with everything around them "
        f"({least / taken:.0%} of the peak). " + " ".join(notes),
    ]
    return "\n".join(text), measured.noise


def _peak_run(path: Path, threads: int) -> Callable[[], object]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    tile = np.full((1, _PEAK_SIDE, _PEAK_SIDE, _PEAK_CHANNELS), 100, np.uint8)
    return lambda: session.run(None, {"picture": tile})


def layers(folder: Path) -> str:
    """The time of each layer on one core, by onnxruntime's profiler, and of the work around the graph."""
    spec = bundled_model(SCALE, "rgb", "int8")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.enable_profiling = True
    options.profile_file_prefix = str(folder / "profile")
    session = onnxruntime.InferenceSession(str(spec.path), options, providers=["CPUExecutionProvider"])
    (region, *_) = regions = tiling.plan_tiles(SOURCE, tile=None, workers=2, max_pixels=1 << 17)
    tile = windows(tiling.cut(made_picture(SOURCE), region, spec.halo or 0))[None]
    for _ in range(_PROFILED_RUNS):
        session.run(None, {session.get_inputs()[0].name: tile})
    constants = onnx.load(spec.path).graph.initializer
    weights = {tensor.name: int(np.prod(tensor.dims)) for tensor in constants}
    spent: dict[str, list[float]] = {}
    work: dict[str, int] = {}
    for event in json.loads(Path(session.end_profiling()).read_text(encoding="utf-8")):
        if event.get("cat") != "Node" or not event["name"].endswith("_kernel_time"):
            continue
        name, kind = event["name"].removesuffix("_kernel_time"), event["args"]["op_name"]
        layer = name.split(".exact")[0]
        (answer,) = (shape["uint8"] for shape in event["args"]["output_type_shape"])
        spent.setdefault(f"{layer} ({kind})", []).append(event["dur"] / 1e3)
        work[f"{layer} ({kind})"] = answer[1] * answer[2] * weights.get(f"{layer}.weight", 0)
    rows = []
    for name, times in spent.items():
        frame = statistics.median(times) * len(regions)
        macs = work[name] * len(regions)
        rows.append([name, f"{frame:.2f}", f"{macs / frame / 1e6:.0f}" if macs else "–"])
    rows.append(["all of them", f"{sum(float(row[1]) for row in rows):.2f}", ""])
    tiles = f"{len(regions)} tiles of {region.width}×{region.height}"
    text = table([f"layer, {tiles}, 1 thread", "ms a frame", "GMAC/s"], rows)
    return f"{machine_line(1)}\n\n{text}"


def models(options: argparse.Namespace) -> tuple[str, Noise]:
    """Every bundled model for clean sources on the same picture; the others have the same layers."""
    specs = [spec for spec in bundled_models() if spec.restore == "off"]
    upscalers = {spec.name: Upscaler(spec.scale, model=spec.name, threads=options.threads) for spec in specs}
    measured = side_by_side(
        on_picture(upscalers), threads=options.threads, repeats=options.repeats, in_a_row=1
    )
    rows = []
    for spec in specs:
        timing = measured.timings[spec.name]
        megapixels = SOURCE.pixels * spec.scale**2 / 1e6
        scores = [f"{spec.psnr[name]:.2f}" if name in spec.psnr else "–" for name in ("Set5", "Set14")]
        rows.append(
            [
                f"`{spec.name}`",
                f"{spec.macs:,}",
                milliseconds(timing),
                str(measured.ratios[spec.name]),
                f"{1 / timing.seconds:.1f}",
                f"{megapixels / timing.seconds:.0f}",
                *scores,
            ]
        )
    head = [
        "model",
        "MAC per pixel",
        "ms",
        "times the first",
        "frames/s",
        "MP/s out",
        "Set5, dB",
        "Set14, dB",
    ]
    text = (
        f"{machine_line(options.threads)}\n\n{table(head, rows)}\n\nThe networks for compressed and drawn "
        "sources have the same layers, and so take the same time."
    )
    return text, measured.noise


def main(options: argparse.Namespace) -> None:
    """Measure and print; write with ``--write``. A part that is too noisy does not stop the others."""
    texts: dict[str, tuple[str, Noise]] = {}
    parts = getattr(options, "parts", None) or PARTS
    if "engine" in parts:
        with tempfile.TemporaryDirectory() as folder:
            text, noise = compare(options, Path(folder))
            texts |= {"layers": (layers(Path(folder)), noise), "engine": (text, noise)}
    if "models" in parts:
        texts["models"] = models(options)
    refusals = []
    for name, (text, noise) in texts.items():
        try:
            publish(name, text, noise, options)
        except SystemExit as refusal:
            refusals.append(f"{name}: {refusal}")
    if refusals:
        raise SystemExit("; ".join(refusals))


#: The parts that can be measured alone.
PARTS = ("engine", "models")


if __name__ == "__main__":
    command = parser(__doc__)
    command.add_argument("--parts", nargs="+", choices=PARTS, help="which; by default all")
    main(command.parse_args())
