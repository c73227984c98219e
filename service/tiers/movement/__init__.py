"""How members move between tiers, how they are spread over them, and who is about to fall.

Movement is read from the log of changes alone, by the time each took effect or by the time it was believed,
and every report carries the reconciliation of its own figures.
What lies ahead is folded forward in memory as if nothing more were bought.
"""
