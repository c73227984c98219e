"""The statistics of experiments: sums in, one report with one verdict out. Pure.

`analyse` (verdict.py) is the one way in; sums.py and plan.py say what it is given, report.py what it returns.
Nothing here knows rows: the database adds up, so the analysis costs the same for a million members.
"""
