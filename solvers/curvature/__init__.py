"""Numbers of second order: spectra of Hessians and kernels from small blocks, orbits beyond the edge."""
