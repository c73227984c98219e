"""What a member's tier rests on: the orders and refunds that count, what leaves when, what holds it.

Everything is taken from the fold that decides the tier, so an account and a decision cannot disagree.
Members are told of their own purchases; staff see rules, causes, pins and what comes next besides.
"""
