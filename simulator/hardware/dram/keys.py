"""Keys of the commands that a first-ready controller may issue: the least key issues.

A key: ticks from now << DT | class << CLASS | sequence number << AGE | bank << 2 | command.
"""

__all__ = ["ACTIVATE", "AGE", "CLASS", "COLUMN", "DT", "DUE", "PRECHARGE", "REFRESH"]

DT, CLASS, AGE = 43, 42, 9
# Class 0 are requests whose activate has issued, class 1 those in a queue.
COLUMN, ACTIVATE, PRECHARGE, REFRESH = range(4)
DUE = ((1 << (CLASS - AGE)) - 1) << AGE
"""The refresh of a bank: after requests whose activate has issued, before all that are queued."""
