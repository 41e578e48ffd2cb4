"""The symbolic layer: settings, derivations, closed forms and claims. SymPy, networkx and NumPy; never JAX."""

if not __name__.startswith("learning_mechanics."):
    raise ImportError(f"import learning_mechanics.{__name__}, not {__name__}")
