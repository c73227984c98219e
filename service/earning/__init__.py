"""Earning rules: how many points what happens is worth, decided by numbers that are handed in.

Versions are drafted, published and retired like tier rule sets, and a published one never changes.
This room knows no tier and posts no points: the multiplier comes in, and the ledger writes.
"""
