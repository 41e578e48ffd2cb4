"""Judging: claims against measurements, with forecasts on record and conformance over all models."""
