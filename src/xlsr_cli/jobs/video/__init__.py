"""One film or stream of frames: plan, pipeline, segments."""
