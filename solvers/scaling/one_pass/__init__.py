"""One-pass SGD on random features as numbers: for one draw of them exactly, for none by a deterministic equivalent."""
