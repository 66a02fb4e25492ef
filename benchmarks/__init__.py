"""Speed claims, measured side by side: ``python -m benchmarks`` renews docs/performance.md.

Needs the ``train`` group (PyTorch, onnx, matplotlib) and, for the peers, ``pip install openvino ncnn``;
what is not installed is left out with a line that says so.
"""

from xlsr_cli.engine.runtimes.telemetry import disable_telemetry

disable_telemetry()  # some of these modules import onnxruntime themselves
