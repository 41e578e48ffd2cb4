"""Eigenvalues of kernels in closed form, and of any kernel on data from covariance eigenvalues."""
