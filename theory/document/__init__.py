"""Derivations written out: notation, exact text, and documents as text, LaTeX, JSON and Python."""
