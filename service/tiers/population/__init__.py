"""The population: everybody at once, by the same rules as one member.

Metrics, conditions and ranks are compiled to SQL that agrees with the Python reader (law T3).
On them rest the simulation of a draft over the whole membership and the set-based part of a full review.
"""
