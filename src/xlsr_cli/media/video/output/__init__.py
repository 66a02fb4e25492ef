"""Films, written: encoders, containers, which streams go in, and reading back what was written."""
