"""What the unresolved power might be: all noise, or all a slow tail; the target's exponent lies between.

Power that is unlearned at n degrees of freedom is tail and noise together,

    D(n) = noise + A (n + 1/2)^-(target_exponent - 1),

and what is left at the end of the data cannot be told apart there. With noise = 0 the slope of D is the flattest the
target allows; with noise = the smallest D, the steepest. In between the curvature of D decides, as far as the errors
allow: the profile of chi^2 over the noise, with the covariance of left-out errors, gives a joint interval.

Of 135 planted targets (600 rows, noise of 0, 5 and 30 %; `tests/test_tail_bracket.py`) the 90 % interval of the bracket
held 127 exponents, that of the noise 130 shares.

References: Stefansson, Koncar, Jones 1997 (Neural Comput. Appl. 5, 131) for noise by extrapolation; Murphy, van der
Vaart 2000 (J. Am. Stat. Assoc. 95, 449) for profiles.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import least_squares

from ..errors import BadData
from .estimate import Estimate
from .path_exponents import jackknife, slope_weights
from .ridge_path import RidgePath
from .spectrum import FIRST_RANK, LAST_SHARE, Spectrum

LEVELS = 41  # of noise in the profile
NINETY = 2.706  # of chi^2 with one degree of freedom
ROUGHNESS = 0.005  # of log D: no target is exactly a power law
IDENTIFIED = 0.5  # share of the possible noise that a 90 % interval may span
SHARP = 0.3  # largest error of a joint exponent worth a number
CLEAR = 0.15  # share of the most noise by which power must exceed it, unless errors are small, to have a slope
WHY = {
    True: "above which the exponent is not resolved: the truth lies between",
    False: "which does not decide: the truth lies between",
}
WHERE = "tail bracket"


@dataclass(frozen=True)
class TailBracket:
    """Target exponent with the unresolved power taken as all tail, and as all noise.

    `all_tail`   the flattest, with no noise (what `Spectrum.target_exponent` assumes)
    `all_noise`  the steepest, with as much noise as the data allow; None: not bounded from above
    `most_noise` that noise, as a share of the target's power
    `noise`      90 % interval of the share that the curvature allows;  `identified`: it spans less than half of that
    `joint`      target exponent at the best noise, its error with the noise's; None unless `identified`, sharp
                 and between the two
    """

    all_tail: Estimate
    all_noise: Estimate | None
    most_noise: float
    noise: tuple[float, float]
    identified: bool
    joint: Estimate | None
    window: tuple[float, float]

    def interval(self, level: float = 0.9) -> tuple[float, float]:
        """From the lower limit with no noise to the upper limit with the most."""
        high = np.inf if self.all_noise is None else self.all_noise.interval(level)[1]
        return self.all_tail.interval(level)[0], float(high)

    def to_dict(self) -> dict:
        return {
            "all_tail": self.all_tail.to_dict(),
            "all_noise": self.all_noise and self.all_noise.to_dict(),
            "most_noise": float(self.most_noise),
            "noise": [float(share) for share in self.noise],
            "identified": bool(self.identified),
            "joint": self.joint and self.joint.to_dict(),
            "window": list(self.window),
        }

    def __str__(self) -> str:
        low, high = self.noise
        return "\n".join(
            [
                f"Target exponent, ranks {self.window[0]:.0f} .. {self.window[1]:.0f}",
                f"  unresolved power all tail   {self.all_tail}",
                f"  unresolved power all noise  {self.all_noise or 'not bounded'}"
                f" (noise {self.most_noise:.1%} of the target's power)",
                f"  curvature allows noise      {low:.1%} to {high:.1%} (90 %), "
                + (f"joint exponent {self.joint}" if self.joint else WHY[self.identified]),
            ]
        )

    __repr__ = __str__


def tail_bracket(spectrum: Spectrum | RidgePath, samples: int | None = None) -> TailBracket:
    """The bracket of a spectrum estimated from rows, or of a ridge path of `samples` rows with `shares`.

    Errors: `BadData` without left-out errors, or with fewer than half a decade of resolved ranks.

    >>> sizes = np.geomspace(1, 950, 36)
    >>> left = 0.1 + (sizes + 0.5) ** -0.8
    >>> shares = np.random.default_rng(0).standard_normal((200, 36)) * 1e-3 / 14
    >>> found = tail_bracket(RidgePath(sizes, 1 / sizes, left, total=1.1, shares=shares), 1000)
    >>> found.all_tail.value < 1.8 < found.all_noise.value, abs(found.joint.value - 1.8) < 0.05
    (True, True)
    """
    path = spectrum.left_out if isinstance(spectrum, Spectrum) else spectrum
    samples = spectrum.samples if isinstance(spectrum, Spectrum) else samples
    if path is None or path.shares is None or not samples:
        raise BadData("no left-out errors", where=WHERE, remedy="give a spectrum of cross_fit or in_sample")
    low, high = FIRST_RANK, min(samples / LAST_SHARE, path.sizes[-1])
    inside = (path.sizes >= low) & (path.sizes <= high)
    if inside.sum() < 4 or high < 3 * low:
        raise BadData(
            f"{samples} samples, {path.sizes[-1]:.0f} resolved ranks",
            where=WHERE,
            remedy=f"give at least {3 * FIRST_RANK * LAST_SHARE} samples and a kernel of rank {3 * FIRST_RANK}",
        )
    left, weights = path.unlearned, slope_weights(path, inside)
    pulls = path.shares - path.shares.mean(0)
    all_tail = Estimate(1 - float(weights @ np.log(left)), jackknife(path.shares, weights))
    end = int(np.argmin(left))
    rest = left - left[end]
    all_noise = None
    moved = left * pulls - left[end] * pulls[:, [end]]
    scatter = np.sqrt((moved**2).sum(0) * len(pulls) / (len(pulls) - 1))
    # else what is left above that much noise may itself be noise: the smallest of many noisy values is too small
    if (rest > np.maximum(2 * scatter, np.minimum(CLEAR * left[end], 6 * scatter)))[inside].all():
        above = np.where(inside, rest, 1.0)
        all_noise = Estimate(1 - float(weights @ np.log(above)), jackknife(moved / above, weights))
    noise, joint = _profile(path, pulls, min(samples / 2, path.sizes[-1]), float(left[end]))
    identified = joint is not None and noise[1] - noise[0] <= IDENTIFIED * left[end]
    outer = (all_tail.interval()[0], np.inf if all_noise is None else all_noise.interval()[1])
    sharp = identified and joint.error <= SHARP and outer[0] <= joint.value <= outer[1]
    total = path.total
    return TailBracket(
        all_tail=all_tail,
        all_noise=all_noise,
        most_noise=float(left[end] / total),
        noise=(noise[0] / total, noise[1] / total),
        identified=bool(identified),
        joint=joint if sharp else None,
        window=(float(path.sizes[inside][0]), float(path.sizes[inside][-1])),
    )


def _profile(path, pulls, last, most):
    """90 % interval of the noise from the curvature of log D over [10, last], and the exponent at its best."""
    chosen = np.flatnonzero((path.sizes >= FIRST_RANK) & (path.sizes <= last))[::2]
    x, y, pulls = np.log(path.sizes[chosen] + 0.5), np.log(path.unlearned[chosen]), pulls[:, chosen]
    draws = len(pulls)
    if draws < len(x) + 4:
        return (0.0, most), None
    trust = (draws - len(x) - 2) / (draws - 1)
    covariance = pulls.T @ pulls * draws / (draws - 1) / trust + ROUGHNESS**2 * np.eye(len(x))
    whitener = np.linalg.inv(np.linalg.cholesky(covariance))
    levels = most * np.linspace(0, 1.25, LEVELS)
    costs, slopes, errors = [], [], []
    start = np.array([y[0], 0.5])
    for level in levels:

        def residuals(p, level=level):
            return whitener @ (np.log(level + np.exp(p[0] - p[1] * (x - x[0]))) - y)

        found = least_squares(residuals, start, bounds=([-np.inf, 0.0], [np.inf, 20.0]))
        start = np.clip(found.x, [-np.inf, 1e-3], [np.inf, 19.0])
        costs.append(2 * found.cost)
        slopes.append(found.x[1])
        errors.append(np.sqrt(np.linalg.pinv(found.jac.T @ found.jac)[1, 1]))
    chi2 = np.array(costs)
    best = int(chi2.argmin())
    inflation = max(1.0, chi2[best] / max(len(x) - 3, 1))  # a curve that does not fit decides less
    allowed = chi2 <= chi2[best] + NINETY * inflation
    spread = (max(np.array(slopes)[allowed]) - min(np.array(slopes)[allowed])) / 2 / np.sqrt(NINETY)
    step = levels[1]
    noise = (max(levels[allowed].min() - step / 2, 0.0), min(levels[allowed].max() + step / 2, levels[-1]))
    return noise, Estimate(float(1 + slopes[best]), float(np.hypot(spread, errors[best] * np.sqrt(inflation))))
