"""One film or stream of frames: plan, pipeline, segments."""

#: Frames of a segment: the most that a crash can cost, and the largest distance between key frames.
SEGMENT_FRAMES = 240
