"""Experiments: train, sample or solve, and measure. Nothing here sees a derived equation."""
