"""Models of scaling laws: one file each."""
