"""Forecasts written down before training, and their scores afterwards."""
