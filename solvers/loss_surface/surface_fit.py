"""The loss of finished runs as E + A N^-alpha + B D^-beta, with how sure one may be of each constant.

The one equation: minimise over the five constants

    sum_i Huber_delta( log L_i - log(E + A N_i^-alpha + B D_i^-beta) ),      delta = 0.001,

the objective of Hoffmann et al. 2022; `delta=inf` is least squares of logarithms. Standard errors and intervals come
from drawing the runs again with replacement (whole groups where points share a run) and fitting each sample anew.
Noise: residuals of log loss are independent between runs (groups) and have median zero; normal and heavy-tailed
(Student's t with 3 degrees) ones were tried, and 90 % intervals cover 88 to 92 %.

References: Hoffmann et al. 2022 (arXiv:2203.15556); Besiroglu et al. 2024 (arXiv:2404.10102).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...theory.arguments import number, whole
from ...theory.errors import BadData, DidNotConverge, OutsideDomain
from ...theory.loss_surface.frontier import frontier
from ...theory.loss_surface.law import NAMES
from . import accuracy, identifiability
from .robust_fit import SIZE, Centred, centred, fit, predicted
from .runs import WHERE, Runs, checked_seed, dropped, enough, runs, sizes
from .starts import starts

DELTA = 1e-3
SEED = 42  # of the published refit
FINITE = 0.95  # share of draws for which a number must exist to have an interval
CHUNK = 50_000  # fits times runs at once: what the cache of a core holds
LOGARITHMIC = ("E", "log A", "log B", "alpha", "beta")


@dataclass(frozen=True, eq=False)
class Optimum:
    """The best split of a compute budget: values, and intervals of all of them at `level`."""

    compute: float
    parameters: float
    tokens: float
    loss: float
    ratio: float
    intervals: Mapping[str, tuple[float, float]]
    level: float
    extrapolated: float

    def __str__(self) -> str:
        def told(name: str, text: str) -> str:
            low, high = self.intervals[name]
            return f"{text} = {getattr(self, name):.4g} ({low:.4g} to {high:.4g})"

        beyond = f", {self.extrapolated:.1f} decades beyond the runs" if self.extrapolated > 0 else ""
        parts = (("parameters", "N*"), ("tokens", "D*"), ("ratio", "D*/N*"), ("loss", "L*"))
        return f"C = {self.compute:.4g}{beyond}: " + ", ".join(told(*part) for part in parts)

    __repr__ = __str__

    def to_dict(self) -> dict[str, Any]:
        names = ("compute", "parameters", "tokens", "loss", "ratio", "level", "extrapolated")
        return {name: getattr(self, name) for name in names} | {
            "intervals": {name: list(ends) for name, ends in self.intervals.items()}
        }


@dataclass(frozen=True, eq=False)
class LossSurface:
    """A fitted law of the loss, with its bootstrap.

    `estimates`, `standard_errors`  by name: E, A, B, alpha, beta
    `draws`      (repeats, 5) fits of bootstrap samples: E, log A, log B, alpha, beta
    `objective`  the minimum; `noise` the spread of log losses about the law (robust standard deviation)
    `inside`     share of runs that the objective does not cut off: 1 is least squares, near 0 absolute values
    `agreeing`   how many of the starting points end in this minimum, of `tried`
    `verdict`    whether the runs determine the law, with reasons
    `runs`       what was fitted; `given` also holds the `dropped` runs of highest loss
    """

    runs: Runs
    estimates: dict[str, float]
    standard_errors: dict[str, float]
    draws: np.ndarray
    theta: np.ndarray
    objective: float
    noise: float
    inside: float
    delta: float
    dropped: int
    seed: int
    agreeing: int
    tried: int
    converged: float
    verdict: identifiability.Verdict
    given: Runs

    @property
    def identifiable(self) -> bool:
        """Whether nothing speaks against reading the constants as those of a law."""
        return self.verdict.identifiable

    @property
    def design(self) -> Centred:
        """Centred logarithms of the runs that were fitted."""
        return centred(self.runs.parameters, self.runs.tokens)

    @property
    def residuals(self) -> np.ndarray:
        """log L - log L_fit of every run that was fitted, (runs,)."""
        return np.log(self.runs.loss) - np.log(predicted(self.theta[None], self.design)[0])

    @property
    def covariance(self) -> np.ndarray:
        """Bootstrap covariance (5, 5) of E, log A, log B, alpha, beta."""
        return np.cov(self.draws, rowvar=False)

    @property
    def correlation(self) -> np.ndarray:
        """Bootstrap correlations (5, 5) of E, log A, log B, alpha, beta."""
        spread = np.sqrt(np.maximum(np.diag(self.covariance), 1e-300))
        return self.covariance / np.outer(spread, spread)

    def intervals(self, level: float = 0.9) -> dict[str, tuple[float, float]]:
        """Bias-corrected bootstrap intervals of E, A, B, alpha, beta. Raises `BadData` for a level beyond 0 to 1."""
        columns = dict(zip(NAMES, self.draws.T, strict=True))
        with np.errstate(over="ignore"):
            columns |= {name: np.exp(columns[name]) for name in ("A", "B")}
        return {name: self.interval(columns[name], self.estimates[name], level) for name in NAMES}

    def interval(self, draws: np.ndarray, estimate: float, level: float = 0.9) -> tuple[float, float]:
        """The interval of any number that was computed from `draws` as `estimate` was from the fit."""
        if not 0 < number(level, "level", WHERE) < 1:
            raise BadData(f"level {level}", where=WHERE, remedy="give one between 0 and 1, say 0.9")
        finite = np.isfinite(draws)
        if finite.mean() < FINITE:
            return -np.inf, np.inf
        draws = draws[finite]
        if not np.ptp(draws) > 0:
            return float(estimate), float(estimate)
        return accuracy.interval(draws, estimate, accuracy.quantile_of(level, len(self.runs), self.inside))

    def predict(self, parameters: Any, tokens: Any, level: float = 0.9) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Losses of the law at these sizes, and both ends of their intervals (the noise of a run not included).

        Raises `BadData` for sizes that are not above zero.
        """
        n, d = sizes(parameters, tokens)
        value = law(np.array([self._point()]), n, d)[0]
        drawn = law(self.draws, n, d)
        ends = np.array([self.interval(drawn[:, i], value[i], level) for i in range(len(value))])
        return value, ends[:, 0], ends[:, 1]

    def optimum(self, compute: float, level: float = 0.9) -> Optimum:
        """Best parameters and tokens for `compute` = 6 N D flops, and the loss there.

        Raises `BadData` for no compute, `OutsideDomain` where an exponent is not above zero: then no split is best.
        """
        budget = number(compute, "compute", WHERE, above=True)
        if not self.has_frontier:
            name = min(("alpha", "beta"), key=self.estimates.__getitem__)
            found = f"{name} = {self.estimates[name]:.3g} is not well above zero, so no split of compute is best"
            raise OutsideDomain(found, where=WHERE, remedy="see why the law is not identifiable")
        derived = frontier()
        point = derived.values(budget, self.estimates)
        with np.errstate(all="ignore"):
            drawn = derived.values(budget, self._drawn())
            drawn = {name: np.where(self.draws[:, 3:].min(1) > 0, values, np.nan) for name, values in drawn.items()}
        ends = {name: self.interval(drawn[name], float(point[name]), level) for name in point}
        beyond = max(float(np.log10(budget / self.runs.compute.max())), 0.0)
        values = {name: float(value) for name, value in point.items()}
        return Optimum(budget, intervals=ends, level=level, extrapolated=beyond, **values)

    @property
    def has_frontier(self) -> bool:
        """Whether the loss falls with parameters and with tokens, so that a best split exists (in double precision)."""
        if not (self.estimates["alpha"] > 0 and self.estimates["beta"] > 0):
            return False
        best = frontier().values(self.runs.compute.max(), self.estimates)
        return all(np.isfinite(value) and value > 0 for value in best.values())

    def exponents(self, level: float = 0.9) -> dict[str, tuple[float, float, float]]:
        """Exponents of N*, D* and of L* - E in compute: value and both ends of the interval (samples without a best
        split left out; infinite ends where they are more than 5 %)."""
        _, _, _, alpha, beta = np.where(self.draws[:, 3:].min(1) > 0, self.draws.T, np.nan)
        a, b = self.estimates["alpha"], self.estimates["beta"]
        made = {
            "parameters": (b / (a + b), beta / (alpha + beta)),
            "tokens": (a / (a + b), alpha / (alpha + beta)),
            "loss": (a * b / (a + b), alpha * beta / (alpha + beta)),
        }
        return {name: (value, *self.interval(drawn, value, level)) for name, (value, drawn) in made.items()}

    def _point(self) -> np.ndarray:
        return np.array([np.log(v) if name in ("A", "B") else v for name, v in self.estimates.items()])

    def _drawn(self) -> dict[str, np.ndarray]:
        return {
            name: np.exp(column) if name in ("A", "B") else column
            for name, column in zip(NAMES, self.draws.T, strict=True)
        }

    def card(self) -> str:
        """Constants with errors and intervals, what they imply for compute, and whether to believe them."""
        ends = self.intervals()
        low_n, high_n = np.log10(self.runs.parameters.min()), np.log10(self.runs.parameters.max())
        low_d, high_d = np.log10(self.runs.tokens.min()), np.log10(self.runs.tokens.max())
        lines = [
            f"L = E + A N^-alpha + B D^-beta from {len(self.runs)} runs"
            + (f" ({self.dropped} of highest loss dropped)" if self.dropped else ""),
            f"N over {high_n - low_n:.1f} decades, D over {high_d - low_d:.1f}; noise {self.noise:.2%} of the loss",
            f"{'':6}{'estimate':>12}{'s.e.':>12}   90 % interval",
        ]
        for name in NAMES:
            low, high = ends[name]
            row = f"{name:6}{self.estimates[name]:12.5g}{self.standard_errors[name]:12.4g}"
            lines.append(f"{row}   {low:.5g} to {high:.5g}")
        tied = self.correlation
        lines.append(
            f"corr(E, alpha) = {tied[0, 3]:+.2f}, corr(E, beta) = {tied[0, 4]:+.2f}, corr(log A, alpha) = "
            f"{tied[1, 3]:+.3f}, corr(log B, beta) = {tied[2, 4]:+.3f}"
        )
        if self.has_frontier:
            symbols = {"parameters": "N* ~ C^", "tokens": "D* ~ C^", "loss": "L* - E ~ C^-"}
            told = [f"{symbols[k]}{v:.3f} ({low:.3f} to {high:.3f})" for k, (v, low, high) in self.exponents().items()]
            lines.append(", ".join(told))
            lines.append(str(self.optimum(float(self.runs.compute.max()))))
        lines.append(str(self.verdict))
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.card()

    __repr__ = __str__

    def to_dict(self) -> dict[str, Any]:
        """Everything the card says, and what `from_dict` needs to make the fit again."""
        return {
            "law": "L = E + A N^-alpha + B D^-beta",
            "estimates": dict(self.estimates),
            "standard_errors": dict(self.standard_errors),
            "intervals": {name: list(ends) for name, ends in self.intervals().items()},
            "level": 0.9,
            "correlation": {"of": list(LOGARITHMIC), "values": self.correlation.tolist()},
            "exponents": {k: list(v) for k, v in self.exponents().items()} if self.has_frontier else None,
            "optimum": self.optimum(float(self.runs.compute.max())).to_dict() if self.has_frontier else None,
            "identifiable": self.identifiable,
            "verdict": self.verdict.to_dict(),
            "objective": self.objective,
            "noise": self.noise,
            "delta": self.delta,
            "dropped": self.dropped,
            "bootstrap": len(self.draws),
            "seed": self.seed,
            "starts": {"tried": self.tried, "agreeing": self.agreeing},
            "converged": self.converged,
            "vocabulary": self.verdict.vocabulary,
            "runs": self.given.to_dict(),
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "LossSurface":
        """The fit made again from runs, settings and seed of a record. Raises `BadData` if it comes out otherwise."""
        try:
            table, stated = content["runs"], content["estimates"]
            settings = (float(content["delta"]), int(content["bootstrap"]), int(content["seed"]))
            vocabulary, gone = content["vocabulary"], int(content["dropped"])
            checked = runs(table["parameters"], table["tokens"], table["loss"], table.get("groups"))
        except (KeyError, TypeError, ValueError):
            raise BadData("no record of a fit", where=WHERE, remedy="give what to_dict made") from None
        made = fitted(checked, *settings, drop=gone, vocabulary=vocabulary)
        off = max(abs(made.estimates[name] / stated[name] - 1) for name in ("E", "alpha", "beta"))
        if off > 1e-5:
            raise BadData(
                f"its runs give other constants (off by {off:.1g})", where=WHERE, remedy="write the record anew"
            )
        return made


def fit_loss_surface(
    parameters: Any,
    tokens: Any,
    loss: Any,
    *,
    drop: int = 0,
    delta: float = DELTA,
    bootstrap: int = 4000,
    seed: int = SEED,
    groups: Sequence | np.ndarray | None = None,
    vocabulary: float | None = None,
    progress: Callable[[float], None] | None = None,
) -> LossSurface:
    """Fit L = E + A N^-alpha + B D^-beta to finished runs, with a bootstrap and a verdict.

    `parameters`, `tokens`, `loss`  N, D and final cross-entropy of every run, (runs,)
    `drop`        leave out this many runs of highest loss
    `delta`       residuals of log loss beyond it count by their size only; inf is least squares
    `bootstrap`   samples, at least 100, drawn from `seed`; `groups` names what is drawn together: points of one run
    `vocabulary`  number of tokens a model chooses from; its logarithm is the loss of knowing nothing; inf if the
                  loss is no cross-entropy but may be fitted all the same

    Raises `BadData`. Reference: Hoffmann et al. 2022 (arXiv:2203.15556); Besiroglu et al. 2024 (arXiv:2404.10102).

    >>> n, d = (axis.ravel() for axis in np.meshgrid(np.geomspace(1e7, 1e10, 8), np.geomspace(1e9, 1e12, 8)))
    >>> noise = np.exp(0.005 * np.random.default_rng(0).standard_normal(64))
    >>> found = fit_loss_surface(n, d, (1.8 + 480 * n**-0.35 + 2000 * d**-0.37) * noise, bootstrap=400)
    >>> found.identifiable, abs(found.estimates["alpha"] - 0.35) < 3 * found.standard_errors["alpha"]
    (True, True)
    """
    cut = number(delta, "delta", WHERE, above=True, infinite=True)
    repeats = whole(bootstrap, "bootstrap", WHERE, least=100)
    table = runs(parameters, tokens, loss, groups)
    size = None if vocabulary is None else number(vocabulary, "vocabulary", WHERE, above=True, infinite=True)
    return fitted(table, cut, repeats, checked_seed(seed), drop, size, progress)


def fitted(
    given: Runs,
    delta: float,
    repeats: int,
    seed: int,
    drop: int = 0,
    vocabulary: float | None = None,
    progress: Callable[[float], None] | None = None,
) -> LossSurface:
    """The fit of checked numbers."""
    table = enough(dropped(enough(given), drop))
    gone = len(given) - len(table)
    design, log_loss = centred(table.parameters, table.tokens), np.log(table.loss)
    theta, value, agreeing, tried = point(design, table.loss, delta)
    residual = log_loss - np.log(predicted(theta[None], design)[0])
    drawn, done = bootstrapped(table, design, theta, delta, repeats, seed, progress)
    draws = constants(drawn, design)
    estimates = constants(theta[None], design)[0]
    with np.errstate(over="ignore", invalid="ignore"):
        errors = np.where([False, True, True, False, False], np.exp(draws), draws).std(0, ddof=1)
        estimates[1:3] = np.exp(estimates[1:3])
    verdict = identifiability.verdict(table, design, theta, residual, delta, draws, vocabulary)
    return LossSurface(
        table, dict(zip(NAMES, map(float, estimates), strict=True)), dict(zip(NAMES, map(float, errors), strict=True)),
        draws, theta, value, accuracy.spread(residual), float((np.abs(residual) <= delta).mean()), delta, gone, seed,
        agreeing, tried, float(done.mean()), verdict, given,
    )  # fmt: skip


def point(design: Centred, loss: np.ndarray, delta: float, counts: np.ndarray | None = None):
    """The best minimum from many starts: parameters (5,), objective, how many starts reached it, how many there were.

    Half of the starts go to least squares first, which has fewer minima. Raises `DidNotConverge`.
    """
    log_loss = np.log(loss)
    weight = np.ones(len(loss)) if counts is None else counts
    first = starts(design, loss, counts)
    smooth, _, _ = fit(design, log_loss, weight, first, delta=np.inf, steps=60, tolerance=1e-8)
    trial = np.concatenate([smooth, first])
    found, value, _ = fit(design, log_loss, weight, trial, delta=delta, steps=400, tolerance=1e-14)
    if not np.isfinite(value).any():
        raise DidNotConverge("no start leads to a minimum", where=WHERE, remedy="check the units of the columns")
    best = int(np.nanargmin(value))
    floor = 1e-6 * value[best] + 1e-12 * delta * min(delta, 1.0)
    return found[best], float(value[best]), int((value <= value[best] + floor).sum()), len(trial)


def bootstrapped(
    table: Runs,
    design: Centred,
    theta: np.ndarray,
    delta: float,
    repeats: int,
    seed: int,
    progress: Callable[[float], None] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Fits (repeats, 5) of bootstrap samples of the runs, started at `theta`, and whether each converged."""
    log_loss = np.log(table.loss)
    made, done = [], []
    for counts in table.samples(repeats, seed, max(CHUNK // len(table), 16)):
        start = np.repeat(theta[None], len(counts), 0)
        found, _, converged = fit(design, log_loss, counts, start, delta=delta, steps=100, tolerance=1e-9)
        made.append(found)
        done.append(converged)
        if progress is not None:
            progress(sum(map(len, made)) / repeats)
    return np.concatenate(made), np.concatenate(done)


def constants(theta: np.ndarray, design: Centred) -> np.ndarray:
    """E, log A, log B, alpha, beta (fits, 5) from centred logarithms (fits, 5)."""
    e, a, b, alpha, beta = theta.T
    return np.stack([np.exp(e), a + alpha * design.centre[0], b + beta * design.centre[1], alpha, beta], 1)


def law(draws: np.ndarray, parameters: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """Losses (fits, runs) of constants (fits, 5): E, log A, log B, alpha, beta."""
    e, a, b, alpha, beta = (draws[:, i, None] for i in range(SIZE))
    with np.errstate(over="ignore"):
        return e + np.exp(a - alpha * np.log(parameters)) + np.exp(b - beta * np.log(tokens))
