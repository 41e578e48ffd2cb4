"""Networks of infinite width: their kernels, how signals pass through them, and how they train."""
