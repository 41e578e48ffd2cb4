"""Optimizers as recursions of what a gradient flow moves, and what their noise does."""
