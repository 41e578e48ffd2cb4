"""Limits of infinite width in which features move: dynamical mean-field theory and interacting particles."""
