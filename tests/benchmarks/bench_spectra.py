"""Speed and accuracy of sphere spectra: levels to 60 of ReLU tangent kernels, against plain double quadrature.

Run it as `python tests/benchmarks/bench_spectra.py`. The peer is what is usually done: SciPy's Gauss-Legendre rule of
4000 nodes in the angle and SciPy's Gegenbauer polynomials, in double precision.
"""

import time

import numpy as np
from scipy.special import eval_gegenbauer, roots_legendre

from learning_mechanics.theory.regression.kernels import ntk
from learning_mechanics.theory.spectra.eigen_spectra import sphere


def by_double_quadrature(depth, dimension, levels, nodes=4000):
    """Eigenvalues (levels + 1,) of the same kernel."""
    x, weights = roots_legendre(nodes)
    theta = np.pi / 2 * (1 + x)
    weights = weights * np.sin(theta) ** (dimension - 2)
    covariance, angle = np.cos(theta), theta
    tangent = covariance
    for _ in range(depth - 1):
        slope = 1 - angle / np.pi
        covariance = (np.sin(angle) + (np.pi - angle) * np.cos(angle)) / np.pi
        tangent = covariance + tangent * slope
        angle = np.arccos(np.clip(covariance, -1, 1))
    half, t = dimension / 2 - 1, np.cos(theta)
    polynomials = [eval_gegenbauer(k, half, t) / eval_gegenbauer(k, half, 1.0) for k in range(levels + 1)]
    return np.array([(weights * tangent * p).sum() for p in polynomials]) / weights.sum()


def compare(depth, dimension, levels=60):
    """Seconds of both, and the largest relative error of the double quadrature over even levels."""
    start = time.perf_counter()
    spectrum = sphere(ntk(depth), dimension, levels)
    ours = time.perf_counter() - start
    start = time.perf_counter()
    peer = by_double_quadrature(depth, dimension, levels)
    theirs = time.perf_counter() - start
    even = slice(0, None, 2)
    return ours, theirs, np.abs(peer[even] / spectrum.eigenvalues[even] - 1).max()


if __name__ == "__main__":
    sphere(ntk(2), 3, 2)
    print(f"{'depth':>5} {'d':>3} {'seconds':>9} {'quadrature':>10} {'its error':>10}")
    for depth in (2, 4, 10):
        for dimension in (3, 10, 20):
            ours, theirs, error = compare(depth, dimension)
            print(f"{depth:>5} {dimension:>3} {ours:>9.3f} {theirs:>10.3f} {error:>10.1e}")
