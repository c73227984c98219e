"""Who belongs: one row holds everything personal about a member, all else uses its surrogate key.

Names and contacts are sealed with the application key and found again by exact match only.
This room knows nothing of tiers or points; enrolment as a story lives in `intake`.
"""
