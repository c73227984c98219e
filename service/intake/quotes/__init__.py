"""What an order would earn, and why, before it is placed: the very figures that it earns when it comes.

A quote writes nothing.
"""
