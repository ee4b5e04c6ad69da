"""Collective operations among ranks: what crosses which link, in how many steps, and what it costs.

`ways` has the algorithms in closed form, `pricing` lays them over the links of a machine.
"""

from simulator.hardware.collectives.groups import Group, Groups, host_of
from simulator.hardware.collectives.pricing import price_exchange
from simulator.hardware.collectives.ways import Shape, Way, ways

__all__ = ["Group", "Groups", "Shape", "Way", "host_of", "price_exchange", "ways"]
