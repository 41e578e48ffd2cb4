"""What raw inputs tell before any kernel: symbols that are counted, and manifolds of few dimensions."""
