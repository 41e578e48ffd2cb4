"""Networks as graphs: operations, activations, readable constructors, and what follows from the graph alone."""
