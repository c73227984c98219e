"""Readers of other people's files: what a shop already has, in the shape that the import stages.

An adapter opens one kind of file and says what is in it: members, items, orders, refunds, and by number each
line it will not take, with the reason. It writes nothing and knows no database.
"""
