"""How high each member stands, why, and when that could change.

Rule sets are data, ratings are a pure function of facts and rules, and every movement is kept with its
cause, its rule-set version and the metrics it was made on.
Facts that come late, shuffled or twice end at the same tiers as facts that came in order.
"""
