"""Who may call: API keys with a role, made, rotated and revoked, and shown exactly once.

A key may end on a day, be held to stores, and, for a storefront, to the origins of its pages.
A server trades its key for short-lived tokens that let a browser reach one member and nobody else.
"""
