"""Observables of regressions without weights: tables, neighbours, and the statistics that hierarchies hide."""
