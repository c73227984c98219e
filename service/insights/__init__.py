"""Indicators, each with its numerator, denominator, window and as-of day.

What is expected of a member (lifetime value, being alive, the next order) is computed by models that publish
their paper. Nothing here is an effect: a gap between groups that nobody drew is described, never called
uplift.
"""
