"""The programme: one currency, one zone, settings that staff may change, and the stores.

Currency and zone are fixed by the first start on a database and never change after it.
Settings are versioned rows, so that yesterday's decision can be explained by yesterday's settings.
"""
