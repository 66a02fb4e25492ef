"""Keep onnxruntime from reporting what runs here. To be imported before it, and so without imports."""

from __future__ import annotations

import os


def disable_telemetry() -> None:
    """Call before onnxruntime is imported; whoever has set the variable has decided already.

    From 1.29 on, the official wheels write an identifier of the device below the home folder and, some
    seconds later, call a host of Microsoft. This variable alone stops both: the library's own
    ``disable_telemetry_events`` can be called only when the identifier is written. Worker processes
    inherit the variable.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
