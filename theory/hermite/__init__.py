"""Kernel spectra of raw data: level coefficients of an architecture times covariance eigenvalues."""
