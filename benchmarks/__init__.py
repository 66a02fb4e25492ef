"""Speed claims, measured side by side: ``python -m benchmarks`` rewrites docs/performance.md.

Needs the ``train`` group (PyTorch, onnx, matplotlib) and, for the peers, ``pip install openvino ncnn``;
what is not installed is left out with a line that says so.
"""

import os

from xlsr_cli.engine.runtimes.telemetry import disable_telemetry

# numpy reads it when it is imported: waiting threads of OpenBLAS would disturb the timings.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
disable_telemetry()  # some of these modules import onnxruntime themselves
