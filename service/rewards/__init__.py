"""Rewards: what can be had for points or with a tier, each taking of it, and the vouchers given for that.

A reward with n in stock is taken at most n times and a voucher's code is given to one member once (law R1).
Points are paid and given back through the ledger alone.
"""
