"""Solving: an ordered list of matchers, each answer proved by substituting it back."""
