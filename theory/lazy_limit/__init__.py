"""Around the lazy limit: output scale and richness, first corrections in 1/alpha and in 1/width."""
