"""The report on a fitted loss surface: its page and its figures."""
