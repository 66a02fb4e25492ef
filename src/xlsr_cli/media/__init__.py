"""Read and write files: pictures, animations, films, pipes, and atomic output."""
