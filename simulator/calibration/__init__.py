"""Fits the parameters of a platform (and of its operators) to micro-benchmarks.

Measurements of single operators only: whole training iterations are what a platform file has to
predict, so none is ever looked at here.
"""
