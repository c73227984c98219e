"""Engines that fit, for batch jobs only.

Each fills the same two promises (`Factorise`, `FindNeighbours`), so that what is served does not depend on
where it was trained. Nothing that serves imports from here.
"""
