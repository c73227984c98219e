"""What outstanding points stand for: how many there are by age and by tier, what they cost, how many will
lapse.

Breakage is read off the vintages: what became of the points of each month, as they grew older.
It writes nothing.
"""
