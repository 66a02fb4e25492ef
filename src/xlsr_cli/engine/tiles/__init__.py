"""A picture in tiles: where they lie, what computes one, which need not be computed, on which thread."""
