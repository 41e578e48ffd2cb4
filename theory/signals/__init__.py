"""How signals and gradients pass through deep random networks: fixed points, phases, depth scales."""
