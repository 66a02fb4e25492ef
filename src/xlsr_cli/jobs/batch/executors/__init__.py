"""Where the items of a batch are done: worker processes, this process, or a cluster."""
