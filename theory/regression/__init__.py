"""Kernels of wide networks, spectra of data, and the effective ridge that joins them."""
