"""What changed, for those who must know: the audit log for staff, the change feed for warehouses.

Both were written by the rooms themselves, in the transactions of the changes; this room only reads them.
The feed is ordered, has no gaps and can be read on from any point, however transactions overlapped.
"""
