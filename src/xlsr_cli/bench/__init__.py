"""Measure how fast this machine is, and say how far to trust the numbers."""
