"""A member seen whole: the profile that staff read, the card that a storefront shows in one call, and merges.

It puts together what the rooms below know; two members become one, or two again, in each of them at once.
The card is about what the member has; it recommends nothing yet, and so it is no exposure.
"""
