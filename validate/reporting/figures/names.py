"""What figures call things: observables with their units, their components, and the axes of a claim.

An observable that is not listed is called by its own name with spaces; a component by its number.
"""

import math

Y_LABELS = {
    "mode_strength": "mode strength (target per input)",
    "subspace_strength": "subspace strength (target per input)",
    "two_step_strength": "mode strength, now and a step later (target per input)",
    "strongest_two_step_strength": "mode strength, now and a step later (target per input)",
    "two_step_contraction": "change over two steps (factor)",
    "rotation_growth": "growth of a rotation per step (factor)",
    "growth_factor": "growth per step (factor)",
    "loss": "loss (half squared error)",
    "balancedness": "change of the balance (weight squared)",
    "sharpness": "sharpness (1 / learning rate)",
    "converged_sharpness": "sharpness (1 / learning rate)",
    "preconditioned_sharpness": "preconditioned sharpness (1 / learning rate)",
    "hessian_spectrum": "eigenvalue of the Hessian (1 / learning rate)",
    "kernel_spectrum": "eigenvalue of the tangent kernel (1 / learning rate)",
    "tangent_kernel": "tangent kernel (output per weight, squared)",
    "kernel_distance": "turn of the tangent kernel (1 − cosine)",
    "half_rise": "time of half rise (learning rate × steps)",
    "passage_times": "time of passage (learning rate × steps)",
    "learned_step": "time of half rise (steps)",
    "learned_order": "agreement of the order (rank correlation)",
    "linear_map": "entry of the map (target per input)",
    "linear_coefficients": "coefficient (target per input)",
    "map_norm": "norm of the map (target per input)",
    "map_cosine": "cosine of the map with its target",
    "entropy_rank": "entropy rank of the map (modes)",
    "participation_ratio": "participation ratio of the map (modes)",
    "embedding_strength": "strength of a direction (words squared)",
    "count_strength": "strength of a direction (words squared)",
    "excess_risk": "excess risk (squared target)",
    "test_error": "test error (squared target)",
    "pool_error": "error on the whole pool (squared target)",
    "risk": "risk (squared target)",
    "outputs": "output for one sample (target)",
    "kernel_movement": "movement of the tangent kernel (share of its norm)",
    "feature_movement": "movement of the feature kernel (share of its norm)",
    "tangent_kernel_entries": "tangent kernel (output per weight, squared)",
    "output_covariance": "covariance of outputs (output squared)",
    "layer_variances": "variance of a layer (feature squared)",
    "layer_correlations": "correlation of two inputs in a layer (cosine)",
    "gradient_growth": "growth of squared gradients per layer (factor)",
    "gram_eigenvalues": "eigenvalue of the kernel matrix (kernel per sample)",
    "table_error": "error of a table (squared target)",
    "neighbour_error": "error of nearest neighbours (squared target)",
    "line_error": "error of straight lines (squared target)",
    "tuple_distance": "distance of classes in tuples (share squared)",
}
X_LABELS = {
    "step": "training step",
    "n": "training samples n",
    "width": "hidden width",
    "scale": "scale of the start",
    "heads": "number of heads",
    "imbalance": "imbalance of the layers (weight squared)",
    "weight_decay": "weight decay μ",
    "output_scale": "output scale α",
    "richness": "richness γ₀",
    "features": "random features k",
}
_PARTS = {
    "balancedness": "entry",
    "linear_map": "entry",
    "tangent_kernel": "entry",
    "linear_coefficients": "coefficient",
    "subspace_strength": "subspace",
    "passage_times": "level",
    "half_rise": "mode",
    "hessian_spectrum": "eigenvalue",
    "kernel_spectrum": "eigenvalue",
    "embedding_strength": "direction",
    "count_strength": "direction",
    "learned_step": "direction",
    "outputs": "output",
    "feature_movement": "layer",
    "layer_variances": "layer",
    "layer_correlations": "layer",
    "gram_eigenvalues": "eigenvalue",
    "tangent_kernel_entries": "entry",
    "output_covariance": "entry",
}
TIMES = ("half_rise", "passage_times", "learned_step")  # a component each: no curves of the training
PAIRED = "two_step_strength"  # the lower strengths of all modes, then the higher ones
_TRIANGLES = ("tangent_kernel_entries", "output_covariance")  # entries (i, j), i <= j, row by row
_ASCENDING = ("hessian_spectrum", "kernel_spectrum")
_BOTH_ENDS = "embedding_strength"  # half of them from the largest eigenvalue down, half down to the most negative
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def x_label(name: str) -> str:
    """What is drawn along the horizontal axis, with its unit."""
    return X_LABELS.get(name, name.replace("_", " "))


def axis_label(claim) -> str:
    """What a claim's settings are; a vanishing start is set by its logarithm."""
    start = getattr(getattr(claim.setup, "initialisation", None), "name", "")
    return "log(1 / scale of the start)" if (claim.axis, start) == ("scale", "vanishing") else x_label(claim.axis)


def y_label(observable: str) -> str:
    """The observable with its unit, in two lines where one would be longer than the axis.

    >>> y_label("excess_risk"), y_label("preconditioned_sharpness")
    ('excess risk (squared target)', 'preconditioned sharpness\\n(1 / learning rate)')
    """
    label = Y_LABELS.get(observable, observable.replace("_", " "))
    return label if len(label) <= 38 else label.replace(" (", "\n(")


def quantity_name(observable: str) -> str:
    """The observable without its unit.

    >>> quantity_name("half_rise")
    'time of half rise'
    """
    return Y_LABELS.get(observable, observable.replace("_", " ")).partition(" (")[0]


def component(record) -> str:
    """What one component of the observable is called."""
    observable = getattr(record, "observable", "")
    return _PARTS.get(observable, "mode" if "mode" in observable or "two_step" in observable else "component")


def components(record) -> str:
    """The same in the plural.

    >>> from types import SimpleNamespace
    >>> components(SimpleNamespace(observable="balancedness"))
    'entries'
    """
    name = component(record)
    return name[:-1] + "ies" if name.endswith("y") else name + "s"


def component_number(record, index: int, count: int) -> str:
    """The number of a component as people count: eigenvalues from the largest, entries by row and column."""
    observable = getattr(record, "observable", "")
    if observable in _ASCENDING:
        return str(count - index)
    if observable == "tangent_kernel" and math.isqrt(count) ** 2 == count:
        row, column = divmod(index, math.isqrt(count))
        return f"{row + 1}, {column + 1}"
    side = (math.isqrt(8 * count + 1) - 1) // 2
    if observable in _TRIANGLES and side * (side + 1) == 2 * count:
        row = next(i for i in range(side) if index < (i + 1) * side - i * (i + 1) // 2)
        return f"{row + 1}, {index - row * side + row * (row + 1) // 2 + 1}"
    if observable == _BOTH_ENDS and index >= count // 2:
        return f"−{count - index}"
    return str(index % max(count // 2, 1) + 1 if observable == PAIRED else index + 1)


def component_name(record, index: int, count: int) -> str:
    """One component by name.

    >>> from types import SimpleNamespace
    >>> component_name(SimpleNamespace(observable="hessian_spectrum"), 267, 268)
    'eigenvalue 1'
    >>> component_name(SimpleNamespace(observable="two_step_strength"), 30, 60)
    'mode 1, higher'
    """
    observable = getattr(record, "observable", "")
    if observable == "strongest_two_step_strength":
        return ("lower", "higher")[index]
    named = f"{component(record)} {component_number(record, index, count)}"
    return f"{named}, {'lower' if index < count // 2 else 'higher'}" if observable == PAIRED else named


def plain_number(value: float) -> str:
    """A number as it is printed on an axis, with a real minus sign and a real power of ten.

    >>> plain_number(-0.2), plain_number(1e-5), plain_number(2.5e-7), plain_number(10000)
    ('−0.2', '10⁻⁵', '2.5·10⁻⁷', '10000')
    """
    mantissa, _, exponent = f"{value:g}".partition("e")
    if not exponent:
        return mantissa.replace("-", "−")
    power = "10" + raised(int(exponent))
    return power if mantissa == "1" else f"{mantissa.replace('-', '−')}·{power}"


def raised(exponent: int) -> str:
    """An exponent in raised letters, which need no typesetting.

    >>> raised(-12)
    '⁻¹²'
    """
    return str(exponent).translate(_RAISED)
