"""A believable small shop in Taiwan, made up from a seed and brought in like any other shop's data.

Nothing here is known to the rest of the service: it writes import files, and `tidemark demo` imports them.
"""
