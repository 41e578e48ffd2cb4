"""Scaling laws as numbers: exponents with errors, finite-size curves, dynamics of a spectrum."""
