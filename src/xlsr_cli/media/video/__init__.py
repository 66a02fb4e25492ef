"""Films: inspect a container, read its frames, and write a new one."""
