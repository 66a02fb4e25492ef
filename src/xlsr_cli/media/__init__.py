"""Bytes in, pixels out, and back: pictures, animations, video, pipes and atomic writing."""
