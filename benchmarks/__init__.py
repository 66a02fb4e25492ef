"""Speed claims, measured side by side: ``python -m benchmarks`` renews docs/performance.md.

Needs the ``train`` group (PyTorch, onnx, matplotlib) and, for the peers, ``pip install openvino ncnn``;
what is not installed is left out with a line that says so.
"""

import os

from xlsr_cli.engine.runtimes.telemetry import disable_telemetry

# numpy reads it when it is imported: threads of OpenBLAS that wait would disturb what is timed.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
disable_telemetry()  # some of these modules import onnxruntime themselves
