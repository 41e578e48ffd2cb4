"""Data and logs, built in or the user's own, with one clear line for whatever is unusable."""
