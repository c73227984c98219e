"""A shop's history comes in: read line by line, staged by COPY, rated in chunks, resumable.

The field rules are the API's own, and what an import leaves is what the same calls would have left.
Importing history gives history: tier changes and points with the dates they would have had.
"""
