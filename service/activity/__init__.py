"""Facts: orders, cancellations, refunds, shipments and events, each recorded once and never changed.

Every fact has when it happened and when we learned it, and the same facts in any order of arrival leave
the same rows. The day roll-up sums them per member and store-local day, for tiers to read.
"""
