"""Planning: mini-batches in, hits, fetched rows, victims and slots out, one plan a pool."""
