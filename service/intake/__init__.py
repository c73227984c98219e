"""The stories that cross rooms: a member enrols, an order comes in, a refund comes in, a bulk import.

Each story is one transaction that calls the rooms below in a fixed order.
An import follows the same rules as the API, set-based, and importing history gives history.
"""
