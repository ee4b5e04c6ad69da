"""Classic caches, one lookup at a time and without a window: what `scratchpipe replay` runs."""
