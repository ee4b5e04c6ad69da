"""The studies of `experiments/`: what each runs, the tables it makes of it, its figures.

A folder of `experiments/` holds the experiment files of a study, `expected.yaml` (what is
published, and the shape that the outcome must have) and a README. The module of the same name
here turns results into tables and tables into figures.
"""

from __future__ import annotations

from simulator.studies.base import Inputs, Study, Tables, find_studies, study_names
from simulator.studies.expected import Outcome, check
from simulator.studies.running import simulate_studies

__all__ = [
    "Inputs",
    "Outcome",
    "Study",
    "Tables",
    "check",
    "find_studies",
    "simulate_studies",
    "study_names",
]
