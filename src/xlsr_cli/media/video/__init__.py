"""Films: what is in a container, its frames, and putting a new one together."""
