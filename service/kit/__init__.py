"""Tools that know no loyalty word: database, clock, money, ids, errors, doors.

Every room stands on this one, and this one stands on none of them.
What serves only one room belongs in that room, not here.
"""
