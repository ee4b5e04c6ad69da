"""Every policy once more in plain Python: what the compiled kernels must equal."""
