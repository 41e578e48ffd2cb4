"""What training cannot change: laws counted and found by exact algebra, symmetries behind them, what breaks them."""
