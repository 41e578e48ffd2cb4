"""Exact polynomials, linear algebra modulo a prime, and the features that a loss sees of its parameters."""
