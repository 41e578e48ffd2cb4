"""Scaling exponents as exact expressions: from source and capacity, by balancing terms, with features that move."""
