"""Parts of the catalogue that options name."""

from __future__ import annotations

__all__ = ["require_part"]


def require_part(asked: str, name: str, folder: str) -> None:
    """Raise `UsageError` that lists what `folder` has where no part is called `name`; paths of
    files are left to who reads them."""
    from simulator.config.problems import did_you_mean
    from simulator.errors import UsageError
    from simulator.hardware.catalogue import part_names

    if "/" in name or name.endswith((".yaml", ".yml")) or name in part_names():
        return
    known = part_names(folder)
    hint = f"{did_you_mean(name, known)} there are {', '.join(known)}, and YAML files".strip()
    raise UsageError(f"{asked}: no part is called so: {hint}")
