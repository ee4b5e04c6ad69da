"""What the studies of `experiments/` share: finding them, running them, checking their outcome.

A folder of `experiments/` holds the experiment files of a study, `expected.yaml` (what is
published, and the shape that the outcome must have), `study.py` (which turns results into tables
and tables into figures) and a README.
"""

from __future__ import annotations

from simulator.studies.base import Inputs, Study, Tables, find_studies, study_names
from simulator.studies.expected import Outcome, check
from simulator.studies.readme import readme_of
from simulator.studies.running import simulate_studies

__all__ = [
    "Inputs",
    "Outcome",
    "Study",
    "Tables",
    "check",
    "find_studies",
    "readme_of",
    "simulate_studies",
    "study_names",
]
