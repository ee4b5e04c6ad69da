"""Where ids come from: generators, files, and what can be said of their locality."""

from simulator.traces.base import Bags, Ids, MiniBatch, Trace, bags_of
from simulator.traces.files import read_ids, stream_ids
from simulator.traces.open import open_trace

__all__ = ["Bags", "Ids", "MiniBatch", "Trace", "bags_of", "open_trace", "read_ids", "stream_ids"]
