"""Solvers for kernel regression: random features, training times, curves from raw data."""
