"""Fits of loss surfaces: point, bootstrap, profile, what they can and cannot say."""
