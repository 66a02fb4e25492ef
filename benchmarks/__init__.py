"""Speed claims, measured side by side: ``python -m benchmarks`` renews docs/performance.md.

Needs the ``train`` group (PyTorch, onnx, matplotlib) and, for the peers, ``pip install openvino ncnn``;
what is not installed is left out with a line that says so.
"""
