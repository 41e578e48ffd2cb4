"""The experimental layer: train, measure, judge, report. It never sees a derived equation before the verdict."""

if not __name__.startswith("learning_mechanics."):
    raise ImportError(f"import learning_mechanics.{__name__}, not {__name__}")
