"""Models of wide networks: kernels and their spectra, the road from lazy to rich, mean-field limits."""
