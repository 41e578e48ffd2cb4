"""Alternating gradient flow. (filled below)"""

LEVELS = (0.85, 0.5, 0.3, 0.15)
