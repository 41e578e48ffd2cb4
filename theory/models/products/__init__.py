"""Models whose parameters multiply: diagonal and single-neuron networks, embeddings, linear attention."""
