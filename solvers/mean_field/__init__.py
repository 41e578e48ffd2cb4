"""Solvers of mean-field equations: causal in time, exact for linear networks, sampled for others."""
