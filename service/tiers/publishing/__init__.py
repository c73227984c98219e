"""The life of a rule set: drafted, looked through, simulated, scheduled, in force, retired.

Whatever is wrong with a ladder is said before it meets a member, by name, with its place and what to do.
A published version never changes; what replaces it says who published it, when, why and on which evidence.
"""
