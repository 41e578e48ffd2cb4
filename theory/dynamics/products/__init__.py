"""Derived systems of models whose parameters multiply, beyond plain stacks of layers."""
