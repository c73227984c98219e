"""What to show a member, said in a way that can be held to account.

Every answer has the same shape whoever asks and whatever went wrong: ranked items with true reasons, and
one measurement block that says which side of the hold-out the answer was on and what it must beat.
Ranking itself is the library's; this room brings it the member's purchases up to this second, keeps out
what cannot be had, and leaves a decision record.
"""
