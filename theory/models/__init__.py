"""One file per solvable model; discovered by `theory.model`."""
