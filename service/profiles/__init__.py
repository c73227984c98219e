"""A member seen whole: the profile that staff read and the card that a storefront shows in one call.

This room only reads, and puts together what the rooms below know.
The card is about what the member has; it recommends nothing yet, and so it is no exposure.
"""
