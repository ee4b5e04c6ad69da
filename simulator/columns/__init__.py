"""Numbers of several mini-batches in one: code that is written for one number runs once for all.

A `Column` holds a number of each and computes as Python does, to the last bit: integers are exact
whatever their size, quotients of integers and powers are rounded once, halves are rounded to even.
Where code asks whether a number is so (`if rows`, `a < b`, `int(a)`) all must agree;
else `UndecidedError` says who are on which side, and whoever wanted them together takes both
sides one by one. `most`, `least`, `same` and `some` need no agreement.

What a function does to numbers that no operator says (powers, tables) it does element by element
(`by_element`); so the plain code is the only code there is.
"""

from simulator.columns.column import Column, UndecidedError, column_of
from simulator.columns.functions import by_element, least, most, same, some

__all__ = ["Column", "UndecidedError", "by_element", "column_of", "least", "most", "same", "some"]
