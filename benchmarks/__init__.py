"""Measurements. ``python -m benchmarks`` lists them; each prints what, where, how many, medians and ratios."""
