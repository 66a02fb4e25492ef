"""How fast the engine is: against the straight float32 export, layer by layer, model by model.

``python -m benchmarks.engine --threads 2``; with ``--write`` into docs/performance.md. 640×360 to
1920×1080 at ×3, from a BGR uint8 array to a BGR uint8 array, depth-to-space included.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from collections.abc import Callable
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
    side_by_side,
    table,
)
from benchmarks.networks import straight_macs, straight_weights, write_onnx, write_peak
from xlsr_cli.bench.noise import Noise
from xlsr_cli.bench.pictures import made_picture
from xlsr_cli.engine.models import bundled_model, bundled_models
from xlsr_cli.engine.tiles import tiling
from xlsr_cli.engine.tiles.tile import model_input
from xlsr_cli.engine.upscaler import Upscaler

SCALE = 3
_PEAK_SIDE, _PEAK_CHANNELS = 96, 256
_PROFILED_RUNS = 15

OURS = "**xlsr int8**, array to array"
OURS_ALONE = "xlsr int8, array to array, 1 thread"
LUMA = "xlsr int8, Y′ alone (`--color ycbcr`), array to array"
GRAPH = "straight float32 export, onnxruntime, the graph alone"
STRAIGHT = "straight float32 export, onnxruntime, array to array"
FOLDED = "xlsr float32 graph, array to array"
OPENVINO = "the same int8 graph in OpenVINO, array to array"


def compare(options: argparse.Namespace, folder: Path) -> tuple[str, Noise]:
    """The engine beside the straight float32 export: the text and how noisy it was."""
    threads = options.threads
    straight, peak = folder / "straight.onnx", folder / "peak.onnx"
    write_onnx(straight_weights(None, SCALE), SCALE, straight)
    peak_macs = write_peak(peak, _PEAK_CHANNELS) * _PEAK_SIDE**2
    planes = runtimes.planes_of(made_picture(SOURCE))
    run_straight = runtimes.onnxruntime_planes(straight, threads)
    spec = bundled_model(SCALE, "rgb", "int8")
    upscalers: dict[str, Callable[..., object]] = {
        OURS: Upscaler(SCALE, threads=threads),
        OURS_ALONE: Upscaler(SCALE, threads=1),
        LUMA: Upscaler(SCALE, threads=threads, color="ycbcr"),
        FOLDED: Upscaler(SCALE, threads=threads, precision="fp32"),
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
    ours = timings[OURS].seconds
    rows = [
        [name, milliseconds(timings[name]), "1" if name == OURS else str(ratios[name])]
        for name in (OURS, OURS_ALONE, LUMA, FOLDED, GRAPH, STRAIGHT, OPENVINO)
        if name in timings
    ]
    speed = peak_macs / timings["peak"].seconds
    least = spec.macs * SOURCE.pixels / speed
    text = [
        machine_line(threads),
        "",
        table([f"{SOURCE} → 1920x1080, {threads} threads", "ms", "times ours"], rows),
        "",
        f"xlsr is **{ratios[GRAPH].median:.2f} times** as fast as the graph of the straight float32 "
        f"export ({straight_macs(SCALE):,} MAC per pixel, random weights), and "
        f"{ratios[STRAIGHT].median:.2f} times as fast from array to array. This machine's integer "
        f"peak, {_PEAK_CHANNELS} channels wide in the same runtime, is {speed / 1e12:.2f} TMAC/s: at that "
        f"speed, the folded graph's {spec.macs * SOURCE.pixels / 1e9:.1f} GMAC would take "
        f"{least * 1e3:.1f} ms; they take {ours * 1e3:.1f} ms with everything around them "
        f"({least / ours:.0%} of the peak). " + " ".join(notes),
    ]
    return "\n".join(text), measured.noise


def _peak_run(path: Path, threads: int) -> Callable[[], object]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    tile = np.full((1, _PEAK_SIDE, _PEAK_SIDE, _PEAK_CHANNELS), 100, np.uint8)
    return lambda: session.run(None, {"picture": tile})


def layers(folder: Path) -> str:
    """What each layer costs on one core, by onnxruntime's profiler, and what stands around the graph."""
    spec = bundled_model(SCALE, "rgb", "int8")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.enable_profiling = True
    options.profile_file_prefix = str(folder / "profile")
    session = onnxruntime.InferenceSession(str(spec.path), options, providers=["CPUExecutionProvider"])
    (region, *_) = regions = tiling.plan_tiles(SOURCE, tile=None, workers=2, max_pixels=1 << 17)
    tile = model_input(tiling.cut(made_picture(SOURCE), region, spec.halo or 0), spec)
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
    return table([f"layer, {tiles}, 1 thread", "ms a frame", "GMAC/s"], rows)


def models(options: argparse.Namespace) -> tuple[str, Noise]:
    """Every bundled model on the same picture."""
    upscalers = {
        spec.name: Upscaler(spec.scale, model=spec.name, threads=options.threads) for spec in bundled_models()
    }
    repeats = getattr(options, "models_repeats", None) or options.repeats
    measured = side_by_side(on_picture(upscalers), threads=options.threads, repeats=repeats)
    rows = []
    for spec in bundled_models():
        timing = measured.timings[spec.name]
        megapixels = SOURCE.pixels * spec.scale**2 / 1e6
        scores = [f"{spec.psnr[name]:.2f}" if name in spec.psnr else "–" for name in ("Set5", "Set14")]
        rows.append(
            [
                f"`{spec.name}`",
                f"{spec.macs:,}",
                milliseconds(timing),
                f"{1 / timing.seconds:.1f}",
                f"{megapixels / timing.seconds:.0f}",
                *scores,
            ]
        )
    head = ["model", "MAC per pixel", "ms", "frames/s", "MP/s out", "Set5, dB", "Set14, dB"]
    return table(head, rows), measured.noise


def main(options: argparse.Namespace) -> None:
    """Measure, print, and write where it is asked for; what is too noisy does not keep the others out."""
    with tempfile.TemporaryDirectory() as folder:
        text, noise = compare(options, Path(folder))
        texts = {"layers": (layers(Path(folder)), noise), "engine": (text, noise)}
    texts["models"] = models(options)
    refusals = []
    for name, (text, noise) in texts.items():
        try:
            publish(name, text, noise, options)
        except SystemExit as refusal:
            refusals.append(f"{name}: {refusal}")
    if refusals:
        raise SystemExit("; ".join(refusals))


if __name__ == "__main__":
    command = parser(__doc__)
    command.add_argument("--models-repeats", type=int, help="rounds of all models; as many as --repeats")
    main(command.parse_args())
