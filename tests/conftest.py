"""Settings of all tests."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("project", deadline=None)
"""Kernels compile at their first call: no deadline for one example."""
settings.load_profile("project")
