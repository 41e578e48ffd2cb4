"""Real tasks on which forecasts are scored, by name."""
