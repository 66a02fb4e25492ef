"""A picture in tiles: where they lie, how one is computed, which can be reused, and the threads for them."""
