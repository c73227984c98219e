"""Measure against baselines in the same run: `make bench`, or `python -m benchmarks --help`.

Nothing here is a timed test. Every figure is a ratio, because absolute times on a shared machine say little.
"""
