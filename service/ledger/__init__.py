"""Points: earned, pending, available, taken back, adjusted and expired, in books that only grow.

Every movement is a posting between two accounts, so a balance is never anything but the sum of its postings.
Nobody else writes points, and this room knows nothing of tiers, of campaigns or of what an order contained.
"""
