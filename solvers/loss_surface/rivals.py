"""Other laws on the same runs: does data size matter more to larger models, does a power law break?

The one equation, coupling by one exponent g (1: additive; E = 0, g = alpha_D: Kaplan's joint form):

    L = E + [ (A N^-alpha)^(1/g) + (B D^-beta)^(1/g) ]^g.

The other rivals: Kaplan's form itself (four unknowns, no floor), and a power law that bends to another exponent at a
break along N or along D, with the sharpness of the bend fixed (two more unknowns).

References: Kaplan et al. 2020 (arXiv:2001.08361); Caballero et al. 2022 (arXiv:2210.14891).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...theory.measured_spectra.estimate import Estimate
from .accuracy import slopes
from .any_law import LawFit, fit_law
from .surface_fit import LossSurface

SHARPNESS = 0.25  # of a bend, in e-folds of the axis over which the slope turns: 1/4 turns within a factor of about e
DECISIVE = 6.0  # difference of criteria beyond which one law is preferred (strong evidence)
ADDITIVE, COUPLED, KAPLAN = "additive", "coupled", "Kaplan's joint form"
BROKEN = {"N": "broken in N", "D": "broken in D"}


@dataclass(frozen=True, eq=False)
class Rivals:
    """Every law's information criterion above the best one's, its unknowns, and how far the additive law is supported.

    `coupling`, `coupling_error`  g of the coupled law and its standard error: 1 is the additive law
    `chi_square`  fall of the objective from the additive to the coupled law, in units of chi-square with one degree
    """

    criteria: dict[str, float]
    constants: dict[str, dict[str, float]]
    coupling: float
    coupling_error: float
    chi_square: float

    @property
    def best(self) -> str:
        """The law of the lowest criterion, if the additive one is clearly worse, else the additive one."""
        lowest = min(self.criteria, key=self.criteria.__getitem__)
        return lowest if self.criteria[ADDITIVE] - self.criteria[lowest] > DECISIVE else ADDITIVE

    def __str__(self) -> str:
        rows = ", ".join(f"{name} {value:+.1f}" for name, value in sorted(self.criteria.items(), key=lambda e: e[1]))
        kept = "the additive law stands" if self.best == ADDITIVE else f"preferred: {self.best}"
        low, high = Estimate(self.coupling, self.coupling_error).interval()
        return (
            f"information criterion above the best: {rows}; {kept}\n"
            f"coupling of N and D: g = {self.coupling:.2f} ({max(low, 0):.2f} to {high:.2f}; 1 is additive), "
            f"chi-square {self.chi_square:.1f} with 1 degree"
        )

    def to_dict(self) -> dict[str, Any]:
        return {
            "criteria": dict(self.criteria),
            "constants": {name: dict(values) for name, values in self.constants.items()},
            "coupling": self.coupling,
            "coupling_error": self.coupling_error,
            "chi_square": self.chi_square,
            "best": self.best,
        }


def rivals(found: LossSurface) -> Rivals:
    """Fit the rivals to the runs of a fit and compare them.

    >>> from .surface_fit import fit_loss_surface
    >>> n, d = (axis.ravel() for axis in np.meshgrid(np.geomspace(1e7, 1e10, 7), np.geomspace(1e9, 1e12, 7)))
    >>> noise = np.exp(0.002 * np.random.default_rng(0).standard_normal(49))
    >>> kaplan = ((8.8e13 / n) ** 0.8 + 5.4e13 / d) ** 0.095 * noise
    >>> rivals(fit_loss_surface(n, d, kaplan, bootstrap=100)).best
    "Kaplan's joint form"
    """
    design, log_loss = found.design, np.log(found.runs.loss)
    x, y, theta = design.x, design.y, found.theta
    fits: dict[str, LawFit] = {}
    fits[ADDITIVE] = LawFit(theta, found.objective, found.residuals)
    log_g = (-2.0, -1.0, 0.0, 0.5)
    fits[COUPLED] = fit_law(_coupled(x, y), log_loss, np.array([np.append(theta, g) for g in log_g]), found.delta)
    whole = np.log(found.runs.loss).mean()
    kaplan = [
        (whole - np.log(2) * b, whole - np.log(2) * b, a, b) for a in (0.05, 0.15, 0.3) for b in (0.05, 0.15, 0.3)
    ]
    fits[KAPLAN] = fit_law(_kaplan(x, y), log_loss, np.array(kaplan), found.delta)
    for axis, (name, logs, place) in enumerate((("N", x, 3), ("D", y, 4))):
        breaks = [
            np.append(theta, [at, second])
            for at in np.quantile(logs, (0.3, 0.5, 0.7))
            for second in (0.6 * theta[place], 1.5 * theta[place])
        ]
        fits[BROKEN[name]] = fit_law(_broken(x, y, axis), log_loss, np.array(breaks), found.delta)
    independent = None if found.runs.groups is None else len(np.unique(found.runs.groups))
    criteria = {name: made.criterion(found.inside, independent) for name, made in fits.items()}
    lowest = min(criteria.values())
    square, slope = slopes(found.residuals, found.delta)
    fall = 2 * (found.objective - fits[COUPLED].objective) * slope / max(square, 1e-300)
    g = float(np.exp(fits[COUPLED].theta[-1]))
    return Rivals(
        {name: value - lowest for name, value in criteria.items()},
        _constants(fits, design.centre),
        g,
        g * _error(_coupled(x, y), fits[COUPLED], found.delta),
        max(float(fall), 0.0),
    )


def _coupled(x, y) -> Callable:
    def law(theta):
        e, a, b, alpha, beta, log_g = theta
        g = np.exp(log_g)
        return np.log(np.exp(e) + np.exp(_soft(a - alpha * x, b - beta * y, g)))

    return law


def _kaplan(x, y) -> Callable:
    def law(theta):
        a, b, alpha, beta = theta
        return _soft(a - alpha * x, b - beta * y, beta)

    return law


def _soft(p, q, g):
    """log [ exp(p/g) + exp(q/g) ]^g without overflow; p, q, g may be complex (steps of derivatives)."""
    top = np.where(p.real >= q.real, p, q)
    low = np.where(p.real >= q.real, q, p)
    return top + g * np.log(1.0 + np.exp((low - top) / g))


def _broken(x, y, axis: int) -> Callable:
    """A N^-alpha turns to N^-second beyond the break: A N^-alpha [1 + (N/N_b)^(1/s)]^(-(second - alpha) s)."""

    def law(theta):
        e, a, b, alpha, beta, at, second = theta
        logs, first = (x, alpha) if axis == 0 else (y, beta)
        turn = (logs - at) / SHARPNESS
        soft = np.where(turn.real > 0, turn, 0) + np.log(1 + np.exp(np.where(turn.real > 0, -turn, turn)))
        bend = -(second - first) * SHARPNESS * soft
        terms = [a - alpha * x, b - beta * y]
        terms[axis] = terms[axis] + bend
        return np.log(np.exp(e) + np.exp(terms[0]) + np.exp(terms[1]))

    return law


def _error(law: Callable, made: LawFit, delta: float) -> float:
    """Standard error of the last unknown, from the Jacobian."""
    j = np.stack([law(made.theta + 1e-30j * unit).imag / 1e-30 for unit in np.eye(len(made.theta))], 1)
    square, slope = slopes(made.residuals, delta)
    covariance = np.linalg.pinv(j.T @ j, rcond=1e-14) * square / slope**2
    return float(np.sqrt(max(covariance[-1, -1], 0.0)))


@np.errstate(over="ignore", divide="ignore", invalid="ignore")
def _constants(fits: dict[str, LawFit], centre: tuple[float, float]) -> dict[str, dict[str, float]]:
    """Every law's constants in its own letters, not centred; infinite where they leave double precision."""
    made: dict[str, dict[str, float]] = {}
    for name, one in fits.items():
        t = list(one.theta)
        if name == KAPLAN:
            made[name] = {
                "alpha_N": t[2],
                "alpha_D": t[3],
                "N_c": float(np.exp(t[0] / t[2] + centre[0])),
                "D_c": float(np.exp(t[1] / t[3] + centre[1])),
            }
            continue
        made[name] = {
            "E": float(np.exp(t[0])),
            "A": float(np.exp(t[1] + t[3] * centre[0])),
            "B": float(np.exp(t[2] + t[4] * centre[1])),
            "alpha": t[3],
            "beta": t[4],
        }
        if name == COUPLED:
            made[name]["g"] = float(np.exp(t[5]))
        if name in BROKEN.values():
            axis = 0 if name == BROKEN["N"] else 1
            made[name] |= {"break": float(np.exp(t[5] + centre[axis])), "beyond": t[6]}
    return made
