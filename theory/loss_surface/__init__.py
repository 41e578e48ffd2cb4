"""Empirical laws of loss over model and data size, and their compute-optimal frontier."""
