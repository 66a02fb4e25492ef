"""The steps between a file and its pixels that are the same for every format."""
