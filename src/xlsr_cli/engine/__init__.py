"""Arrays in, arrays out: models, sessions, tiles, colour and resampling. Knows no files of users."""

from xlsr_cli.engine.runtimes.telemetry import disable_telemetry

disable_telemetry()  # before a module of this room imports onnxruntime
