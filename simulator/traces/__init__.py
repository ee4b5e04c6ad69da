"""Where ids come from: generators, files, and what can be said of their locality."""

from simulator.traces.base import Ids, MiniBatch, Trace
from simulator.traces.files import read_ids, stream_ids
from simulator.traces.open import open_trace

__all__ = ["Ids", "MiniBatch", "Trace", "open_trace", "read_ids", "stream_ids"]
