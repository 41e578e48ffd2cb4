"""Observables of wide networks: kernels, their movement, signals layer by layer."""
