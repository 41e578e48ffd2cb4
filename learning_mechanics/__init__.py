"""Learning mechanics: derive, predict and validate the dynamics of learning.

The front door. Public names are loaded on first use, so that importing the package costs milliseconds:

>>> import learning_mechanics as lm
>>> a, b, s = lm.scalars("a b s")
>>> flow = lm.gradient_flow((s - a*b)**2 / 2, on=(a, b))
>>> lm.conserved(flow)
(a**2 - b**2,)
"""

import os as _os
from importlib import import_module as _import

__version__ = "0.1.0"

_here = _os.path.dirname(_os.path.abspath(__file__))
_layer = _os.path.join(_here, "theory")
if _os.path.islink(_layer) or not _os.path.isdir(_layer):
    __path__.insert(0, _os.path.dirname(_here))  # a source checkout: the layers lie beside this folder

# public name -> module that defines it; an empty name after the colon means the module itself
_PUBLIC = {
    "scalars": "theory.symbols",
    "positive": "theory.symbols",
    "matrices": "theory.symbols",
    "modes": "theory.symbols",
    "over": "theory.symbols",
    "gradient_flow": "theory.derivation.derive",
    "gradient_descent": "theory.derivation.derive",
    "network_flow": "theory.derivation.network_flow",
    "with_optimizer": "theory.optimizers.optimizer_maps",
    "conserved": "theory.derivation.conserved",
    "conservation_laws": "theory.conservation.lie_algebra",
    "symmetries": "theory.conservation.symmetries",
    "closed_form": "theory.closed_forms.closed_form",
    "document": "theory.document.document",
    "jax_code": "theory.document.array_code",
    "reduce": "theory.derivation.reduction_report",
    "modified_flow": "theory.dynamics.modified",
    "marginal_stability": "theory.dynamics.stability",
    "Flow": "theory.system",
    "Map": "theory.system",
    "FixedPoint": "theory.system",
    "Aligned": "theory.derivation.standard_assumptions",
    "Balanced": "theory.derivation.standard_assumptions",
    "LambdaBalanced": "theory.derivation.lambda_balanced",
    "LargeDepth": "theory.derivation.standard_assumptions",
    "SmallInitialisation": "theory.derivation.standard_assumptions",
    "Whitened": "theory.derivation.standard_assumptions",
    "Invariant": "theory.derivation.assumptions",
    "Limit": "theory.derivation.assumptions",
    "Closure": "theory.derivation.assumptions",
    "Setup": "theory.setup",
    "Optimizer": "theory.setup",
    "Initialisation": "theory.setup",
    "Dataset": "theory.dataset",
    "PowerLaw": "theory.dataset",
    "architecture": "theory.architecture.constructors:",
    "chain": "theory.architecture.network",
    "Network": "theory.architecture.network",
    "Node": "theory.architecture.network",
    "Law": "theory.claims",
    "Equals": "theory.claims",
    "Converges": "theory.claims",
    "Scales": "theory.claims",
    "Threshold": "theory.claims",
    "Theory": "theory.model",
    "parameter": "theory.model",
    "models": "theory.model",
    "kernels": "theory.regression.kernels:",
    "errors": "theory.errors:",
    "predict": "solvers.predict",
    "solve": "solvers.predict",
    "spectra": "theory.spectra.eigen_spectra:",
    "hermite_spectrum": "theory.hermite.hermite_eigenstructure",
    "level_coefficients": "theory.hermite.level_coefficients",
    "phase": "theory.signals.phases",
    "edge_of_chaos": "theory.signals.edge_of_chaos",
    "signal_map": "theory.signals.signal_map",
    "kernel_training": "theory.infinite_width.gradient_flow",
    "trained_ensemble": "theory.infinite_width.gradient_flow",
    "gaussian_process": "theory.infinite_width.gradient_flow",
    "exponents": "solvers.scaling.exponents",
    "side_by_side": "solvers.scaling.exponents",
    "ScalingLaw": "solvers.scaling.scaling_law",
    "dynamics": "solvers.scaling.dynamics",
    "power_law_features": "solvers.scaling.power_law_features",
    "power_law_phase": "theory.scaling.power_law_phases",
    "feature_learning": "theory.scaling.feature_learning",
    "power_law_test": "theory.measured_spectra.power_law_test",
    "intrinsic_dimension": "theory.raw_data.intrinsic_dimension",
    "one_hot": "theory.raw_data.one_hot",
    "mechanisms": "theory.mechanisms.forecasts:",
    "fit_loss_surface": "solvers.loss_surface.surface_fit",
    "learning_curve": "solvers.learning_curve",
    "data_curve": "solvers.regression.data_curve",
    "cross_validation": "solvers.regression.cross_validation",
    "random_features": "solvers.regression.random_features",
    "optimal_ridge": "solvers.regression.random_features",
    "on_device": "solvers.regression.kernel_on_device",
    "mean_field": "solvers.mean_field.descents:",
    "two_layer": "solvers.riccati",
    "ScikitLearnKernel": "validate.inputs.scikit_learn_kernel",
    "empirical_kernel": "validate.experiments.empirical_kernel",
    "check": "validate.judging.check",
    "run_claim": "validate.judging.check",
    "diagnose": "validate.inputs.diagnose",
    "sharpness": "validate.observables.sharpness",
    "plot": "validate.reporting.plot",
}


def __getattr__(name):
    if name in _PUBLIC:
        module, colon, _ = _PUBLIC[name].partition(":")
        found = _import(f"{__name__}.{module}")
        value = found if colon else getattr(found, name)
        globals()[name] = value
        return value
    if name[:1].isupper():  # a model's class: DeepLinear, KernelRegression, ...
        model = _import(f"{__name__}.theory.model")
        if name in model.classes():
            globals()[name] = model.classes()[name]
            return globals()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted({*globals(), *_PUBLIC})
