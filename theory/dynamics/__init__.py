"""Derived systems of particular settings: linear networks, update rules, second moments, finite learning rates."""
