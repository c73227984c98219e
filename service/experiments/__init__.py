"""Who is on which side of an experiment, and what was sent to them.

A member's arm is drawn once from the experiment's salt and the member's id, written once and read back
ever after; every answer that could influence a purchase leaves an exposure, in both arms alike.
Nothing here decides what is shown: rooms above ask for the arm, and tell what they sent.
"""
