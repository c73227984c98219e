"""Do the tiers find the valuable members?

Past members are rated by any rule set, live or draft, and what they bought in the months that followed is
told per tier, beside a plain split by spend. Histograms show every metric with the thresholds drawn in.
Neither says that a tier made anybody buy.
"""
