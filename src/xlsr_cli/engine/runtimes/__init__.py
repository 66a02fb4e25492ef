"""Runtimes beside onnxruntime's own, and foreign networks: how they take and give pictures."""
