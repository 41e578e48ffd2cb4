"""What training cannot change: laws counted and found by exact algebra, the symmetries behind them, what breaks them."""
