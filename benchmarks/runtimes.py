"""Other runtimes and filters with the same interface: BGR uint8 array in, BGR uint8 array out."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime
from numpy.typing import NDArray

from xlsr_cli.engine.models import ModelSpec
from xlsr_cli.engine.tiles import tiling
from xlsr_cli.engine.tiles.tile import windows
from xlsr_cli.engine.tiles.tiling import Region

Pixels = NDArray[Any]
Upscale = Callable[[Pixels], Pixels]
#: From a float32 NCHW picture to a larger one.
Planes = Callable[[NDArray[np.float32]], NDArray[np.float32]]


def planes_of(bgr: Pixels) -> NDArray[np.float32]:
    """(1, 3, H, W) float32 in 0 … 1, as the straight exports take it."""
    return np.ascontiguousarray(bgr.transpose(2, 0, 1)[None].astype(np.float32) / np.float32(255))


def through_planes(run: Planes) -> Upscale:
    """A network on float planes, with the conversions that a user of it cannot avoid."""

    def upscale(bgr: Pixels) -> Pixels:
        answer = run(planes_of(bgr))[0]
        return np.asarray(np.rint(answer * np.float32(255)), dtype=np.uint8).transpose(1, 2, 0)

    return upscale


def onnxruntime_planes(path: Path, threads: int) -> Planes:
    """The straight export in onnxruntime with its defaults: its own thread pool, all optimizations."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda planes: np.asarray(session.run(None, {"picture": planes})[0])


def openvino_call(path: Path, threads: int) -> Callable[[Pixels], Pixels]:
    """A graph in OpenVINO, set for latency; float32 stays float32, where its default may be bfloat16."""
    openvino = importlib.import_module("openvino")
    properties = {
        "INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32",
    }  # fmt: skip
    model = openvino.Core().compile_model(str(path), "CPU", properties)
    request = model.create_infer_request()
    return lambda tensor: np.asarray(request.infer([tensor])[0])


def openvino_version() -> str:
    """Its version. Raises ``ImportError`` where it is not installed."""
    return str(importlib.import_module("openvino").__version__).split("-")[0]


def openvino_runs(spec: ModelSpec, threads: int) -> Upscale:
    """Our int8 graph ``spec`` on whole pictures; halo and depth-to-space are ours."""
    run = openvino_call(spec.path, threads)

    def upscale(bgr: Pixels) -> Pixels:
        height, width = bgr.shape[:2]
        region = Region(top=0, bottom=height, left=0, right=width)
        given = windows(tiling.cut(bgr, region, spec.halo or 0))[None]
        answer = np.empty((height * spec.scale, width * spec.scale, 3), dtype=np.uint8)
        tiling.place_runs(np.ascontiguousarray(run(given)[0]), answer, region, spec.scale)
        return answer

    return upscale


def ncnn_planes(param: Path, binary: Path, threads: int) -> Planes:
    """The network in ncnn, float32. Raises ``ImportError`` where it is not installed."""
    ncnn = importlib.import_module("ncnn")
    net = ncnn.Net()
    net.opt.num_threads = threads
    for option in ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic", "use_bf16_storage"):
        setattr(net.opt, option, False)
    if net.load_param(str(param)) != 0 or net.load_model(str(binary)) != 0:
        raise RuntimeError("ncnn cannot load the network")

    def run(planes: NDArray[np.float32]) -> NDArray[np.float32]:
        extractor = net.create_extractor()
        extractor.input("picture", ncnn.Mat(planes[0]))
        _, answer = extractor.extract("upscaled")
        return np.array(answer)[None]

    return run


def ncnn_version() -> str:
    """Its version. Raises ``ImportError`` where it is not installed."""
    return str(importlib.import_module("ncnn").__version__)


def opencv_resize(scale: int, flag: int) -> Upscale:
    """``cv2.resize``."""
    return lambda picture: np.asarray(cv2.resize(picture, None, fx=scale, fy=scale, interpolation=flag))


def swscale(scale: int, name: str, threads: int) -> Upscale:
    """FFmpeg's ``scale`` filter: libswscale by PyAV, ``name`` as in its ``flags``."""
    av = importlib.import_module("av")
    reformatter = importlib.import_module("av.video.reformatter").VideoReformatter()

    def upscale(picture: Pixels) -> Pixels:
        format = "gray" if picture.ndim == 2 else "bgr24"
        frame = av.VideoFrame.from_ndarray(picture, format=format)
        larger = reformatter.reformat(
            frame,
            width=frame.width * scale,
            height=frame.height * scale,
            format=format,
            interpolation=name.upper(),
            threads=threads,
        )
        return np.asarray(larger.to_ndarray())

    return upscale


class NotThere(Exception):
    """Something is not installed; the message says what and what to do."""


def dnn_superres(path: Path, name: str, scale: int) -> Upscale:
    """A network of OpenCV's contrib module ``dnn_superres``, such as FSRCNN or ESPCN, from a .pb file.

    Raises :class:`NotThere` where OpenCV was built without it.
    """
    module = getattr(cv2, "dnn_superres", None)
    if module is None:
        raise NotThere("this OpenCV has no dnn_superres: install opencv-contrib-python in its place")
    network = module.DnnSuperResImpl_create()
    network.readModel(str(path))
    network.setModel(name, scale)
    return lambda bgr: np.asarray(network.upsample(bgr))
