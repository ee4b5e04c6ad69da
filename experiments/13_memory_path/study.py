"""Rivals in the memory path: near-memory adders, CXL memory, persistent memory and drives beside a
look-ahead cache on plain DIMMs, on one machine, one kind of trace and one profile of operators.

A question is a module beside this one: its tables, the table of the README, its figure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulator.studies.base import Inputs, Tables

from . import ahead, copies, levels, logs, near_data, nodes, overlap, skew, tiers

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["figures", "readme", "tables"]

QUESTIONS = (skew, levels, ahead, overlap, nodes, copies, logs, near_data, tiers)


def tables(inputs: Inputs) -> Tables:
    return {name: data for part in QUESTIONS for name, data in part.tables(inputs).items()}


def readme(tables: Tables) -> Tables:
    return {name: data for part in QUESTIONS for name, data in part.readme(tables).items()}


def figures(tables: Tables) -> dict[str, Figure]:
    return {name: one for part in QUESTIONS for name, one in part.figures(tables).items()}
