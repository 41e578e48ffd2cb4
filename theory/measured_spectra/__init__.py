"""Spectra measured from data: ridge paths, fitted levels, their exponents and tests of them."""
