"""Rules and standings in words: English, and Traditional Chinese as it is used in Taiwan.

Sentences are made from the rule and the numbers alone, never written for one rule set.
Amounts and counts are shown so that what a reader can compare comes out as the rule decided.
"""
