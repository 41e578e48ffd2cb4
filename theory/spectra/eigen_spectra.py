"""Exact spectra of kernels, one door: the sphere, the hypercube, the torus and lattices, and Gaussian inputs.

    spectrum = sphere(kernel, dimension=5, levels=60)
    learning_curve(spectrum.to_spectrum({1: 1.0}), sizes=[...])

>>> from learning_mechanics.theory.regression.kernels import ntk
>>> sphere(ntk(depth=2), dimension=3, levels=4).exact
(1/2, 1/3, 5/64, 0, 1/192)
>>> decay(ntk(depth=4)).index_exponent
d/(d - 1)
"""

from .characters import DISTANCE, hypercube, lattice, torus
from .decay import DIMENSION, Decay, decay, singular_constant
from .funk_hecke import eigenvalue as sphere_eigenvalue
from .gaussian_measure import gaussian
from .level_spectrum import LevelSpectrum, largest_products
from .sphere import multiplicity, sphere
from .zonal import T, Zonal, zonal

__all__ = [
    "DIMENSION",
    "DISTANCE",
    "Decay",
    "LevelSpectrum",
    "T",
    "Zonal",
    "decay",
    "gaussian",
    "hypercube",
    "largest_products",
    "lattice",
    "multiplicity",
    "singular_constant",
    "sphere",
    "sphere_eigenvalue",
    "torus",
    "zonal",
]
