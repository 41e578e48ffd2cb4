"""Diagonal linear networks: the interpolator that training picks, and the saddles that a vanishing start visits.

    beta = w_+^D - w_-^D,      min sum_i Q_alpha(beta_i)  subject to  X beta = y

Between least l2 norm (large starts) and least l1 norm (small ones) stands a potential that is derived, at every depth,
from the integrated residual. Gradient descent ends where a slightly smaller start of gradient flow would have ended.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from ...claims import Claim, Converges, Equals, Law
from ...dynamics.products.diagonal_descent import (
    EVEN,
    effective_interpolator,
    lazy_descent,
    sign_descent,
    successive_jumps_of_descent,
)
from ...dynamics.products.diagonal_networks import (
    PESME,
    WOODWORTH,
    coordinate_flow,
    euclidean_interpolator,
    interpolator,
    network,
    product_flow,
    sparsest_interpolator,
    successive_jumps,
)
from ...errors import BadData
from ...model import Theory, parameter
from ...setup import Initialisation, Instance, Optimizer, Setup
from ...system import FixedPoint, System

_MINIMISER = "implicit_bias:minimiser"


@dataclass(frozen=True)
class DiagonalLinear(Theory):
    """Diagonal linear networks: which interpolator they learn, and in which order they learn its coefficients."""

    depth: int = parameter(2, "number of equal factors of a coefficient, beta = w_+^D - w_-^D: in `derive`", least=2)

    def derive(self) -> FixedPoint:
        return interpolator(self.depth)

    def derivations(self) -> Mapping[str, System]:
        return {
            "equations of motion": coordinate_flow(self.depth),
            "interpolator": interpolator(self.depth),
            "two different factors": product_flow(),
            "limit of large starts": euclidean_interpolator(),
            "limit of vanishing starts": sparsest_interpolator(),
            "gradient descent": effective_interpolator(),
            "sign descent": sign_descent(),
            "successive jumps": successive_jumps(self.depth),
        }

    def claims(self) -> tuple[Claim, ...]:
        return (_potential(), _descent(), _three_factors(), _jumps(), _signs())


# --- from an instance to the numbers of a law ------------------------------------------------------------------------


def _data(instance: Instance) -> dict:
    """Rows and targets over root P, so that sums over rows are means; and the common start."""
    if instance["y"].shape[1] != 1:
        raise BadData(f"{instance['y'].shape[1]} targets", where="diagonal-linear", remedy="give one column")
    root = np.sqrt(len(instance["x"]))
    start = float(instance["w_p"][0])
    levels = instance.setup.options.get("levels", ())
    return {"X": instance["x"] / root, "y": instance["y"][:, 0] / root, "alpha": start, "levels": levels}


def _separate(instance: Instance) -> dict:
    """`_data` with the correlations between inputs removed; their pulls X'y and lengths stay."""
    values = _data(instance)
    lengths = np.linalg.norm(values["X"], axis=0)
    return {**values, "X": np.diag(lengths), "y": values["X"].T @ values["y"] / lengths}


# --- claims ----------------------------------------------------------------------------------------------------------


def _setup(depth: int, **changes) -> Setup:
    """A dozen digits, fewer than pixels, with their labels as numbers: interpolated by more than one coefficient."""
    return replace(
        Setup(
            network=network(depth),
            data="digits",
            prepare=("drop_constant", "centre", "unit_scale", "parity"),
            sample="subset",
            axes={"n": 12},
            optimizer=Optimizer(learning_rate=0.02),
            initialisation=Initialisation("constant", 0.3),
            time=400.0,
            records=2,
        ),
        **changes,
    )


def _interpolates(name: str, statement: str, **fields) -> Claim:
    """A claim about the coefficients at the end of training."""
    return Converges(
        name,
        statement,
        "linear_coefficients",
        axis="learning_rate",
        relative="scale",
        options={"summary": "last"},
        **fields,
    )


def _potential() -> Claim:
    return _interpolates(
        "implicit_bias",
        "Gradient descent ends at the minimiser of the derived potential, but for a first order in the learning rate.",
        setup=_setup(2),
        law=Law("least potential", partial(interpolator, 2), _data, "beta", reference=WOODWORTH, solver=_MINIMISER),
        rival=Law("least l2 norm", euclidean_interpolator, _data, "beta", solver=_MINIMISER),
        rival_home="large starts, alpha -> infinity",
        values=(0.02, 0.01, 0.005),
        order=1.0,
        tolerance=0.05,
        seconds=1,
    )


def _descent() -> Claim:
    return _interpolates(
        "effective_start",
        "With the start shrunk by the time integral of the squared pull, the second order is all that is left.",
        setup=_setup(2),
        law=Law(
            "least potential of the effective start",
            effective_interpolator,
            _data,
            "beta",
            reference=EVEN,
            solver="implicit_bias:descent_minimiser",
        ),
        rival=Law("least potential", partial(interpolator, 2), _data, "beta", solver=_MINIMISER),
        rival_home="the limit of small learning rates",
        values=(0.02, 0.01, 0.005),
        order=2.0,
        tolerance=0.1,
        seconds=1,
    )


def _three_factors() -> Claim:
    return _interpolates(
        "three_factors",
        "Three equal factors end at the minimiser of their own potential, nearer to least l1 norm.",
        setup=_setup(3),
        law=Law("potential of depth three", partial(interpolator, 3), _data, "beta", solver=_MINIMISER),
        rival=Law("least l1 norm", sparsest_interpolator, _data, "beta", solver="implicit_bias:least_one_norm"),
        rival_home="vanishing starts, alpha -> 0",
        values=(0.02, 0.01, 0.005),
        order=1.0,
        tolerance=0.05,
        seconds=1,
    )


def _jumps() -> Claim:
    return Converges(
        "successive_jumps",
        "From a vanishing start the loss falls in jumps whose times over log(1/alpha) approach those of the homotopy.",
        "passage_times",
        Setup(
            network=network(2),
            data="patches_small",
            prepare=("second_moments",),
            optimizer=Optimizer(learning_rate=0.05),
            initialisation=Initialisation("vanishing", 46.0),
            time=6500.0,
            records=4000,
            options={"levels": (0.85, 0.5, 0.3, 0.15)},
        ),
        law=Law(
            "successive jumps",
            successive_jumps_of_descent,
            _data,
            "t",
            reference=PESME,
            solver="implicit_bias:passages",
        ),
        rival=Law(
            "jumps of separate inputs", successive_jumps_of_descent, _separate, "t", solver="implicit_bias:passages"
        ),
        rival_home="inputs that are not correlated",
        axis="scale",
        values=(23.0, 46.0, 92.0),
        relative="point",
        order=-1.0,
        tolerance=0.05,
        options={"summary": "last"},
        seconds=1,
    )


def _signs() -> Claim:
    return Equals(
        "sign_descent",
        "Sign descent moves every coefficient by 4 alpha eta along the sign of its pull: it does not see the factors.",
        "linear_coefficients",
        _setup(
            2,
            data="patches",  # real numbers: no pull is exactly zero, whose sign would be rounding
            prepare=(),
            optimizer=Optimizer("sign_descent", learning_rate=1e-4),
            initialisation=Initialisation("constant", 1.0),
            time=0.0,
            steps=200,
            records=21,
        ),
        law=Law("signs of the pull", sign_descent, _matrices, "b", reference=WOODWORTH),
        rival=Law("gradient descent", lazy_descent, _matrices, "b"),
        rival_home="gradient descent from large starts",
        relative="scale",
        budget={"rounding": 1e-11},
        seconds=1,
    )


def _matrices(instance: Instance) -> dict:
    values = _data(instance)
    return {**values, "y": values["y"][:, None], "b": np.zeros((values["X"].shape[1], 1))}
