"""Energy of a stream: counts of commands times the energy of each, and background power.

Modelled: activate/precharge pairs, bursts read and written, refreshes, standby power over the
elapsed time. Approximated: standby power is that of open banks throughout (under load some bank
is nearly always open). Ignored: termination of other ranks, temperature, power-down.
"""

from __future__ import annotations

from simulator.hardware.devices.dram_sections import Energy
from simulator.units import PS_PER_S

__all__ = ["energy_pj"]

PJ_PER_J = 10**12


def energy_pj(
    energy: Energy,
    *,
    activates: int,
    read_bursts: int,
    write_bursts: int,
    refreshes: float,
    elapsed_ps: int,
    ranks: int,
) -> dict[str, float]:
    """Picojoules by part, and their `total`; `ranks` of all pseudo-channels stand by meanwhile.

    `refreshes` of all banks of one; of a single bank each, as many as make up one of all banks.
    """
    parts = {
        "activate": activates * energy.activate,
        "read": read_bursts * energy.read,
        "write": write_bursts * energy.write,
        "refresh": refreshes * energy.refresh,
        "background": energy.background * ranks * elapsed_ps / PS_PER_S * PJ_PER_J,
    }
    return parts | {"total": sum(parts.values())}
