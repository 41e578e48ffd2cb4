"""What an experiment measures: a registry of observables by name, one module an idea."""
