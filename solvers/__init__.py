"""The numerical layer: derived systems become numbers. Imports `theory`, never `validate`."""

if not __name__.startswith("learning_mechanics."):
    raise ImportError(f"import learning_mechanics.{__name__}, not {__name__}")
