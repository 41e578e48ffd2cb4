r"""Language: how far back a model can look is set by the correlations it can see, what it gains there by entropies.

    |C(n)| ~ n^-beta,   visible above the noise c/sqrt(P) of P tokens up to   n*(P) ~ P^(1/(2 beta))
    H_n - H_oo ~ n^-gamma,   so   loss - H_oo ~ P^-gamma/(2 beta)

C(n) is the covariance of two tokens n apart, |.| its largest singular value, H_n the entropy of a token given the n
before it. Measuring both on a text is in `text_statistics`.

>>> print(asymptotic("samples"))
gamma/(2*beta)
"""

from functools import cache
from typing import Any

import numpy as np
import sympy as sp

from ..arguments import interval
from ..errors import BadData, OutsideDomain, UnknownName
from ..measured_spectra.estimate import Estimate
from ..scaling.exact_signs import exact, exact_sign
from ..symbols import positive
from ..system import FixedPoint
from ..trail import Equations, Trail
from .forecast import MechanismForecast
from .text_statistics import Correlations, Entropies, correlations, entropies

CAGNETTA = "Cagnetta, Raventos, Ganguli & Wyart 2026, arXiv:2602.07488"
BETA, GAMMA, SAMPLES, HORIZON = positive("beta gamma P n")
_STRENGTH, _NOISE, _GAIN = positive("A c B")
_NAME = "token correlations"
WIDEST = 0.5  # of the exponent: a wider interval says nothing, and none is given


@cache
def horizon() -> FixedPoint:
    """n*(P): the lag at which correlations A n^-beta fall to the noise c/sqrt(P), with the loss above H_oo there.

    Reference: Cagnetta, Raventos, Ganguli & Wyart 2026, arXiv:2602.07488.

    >>> print(horizon().observables["exponent"])
    gamma/(2*beta)
    """
    signal, noise = _STRENGTH * HORIZON**-BETA, _NOISE / sp.sqrt(SAMPLES)
    trail = Trail().then("covariance of tokens n apart", signal, reference=CAGNETTA)
    trail = trail.then("noise of a covariance counted in P tokens", noise, parents=())
    edge = (_STRENGTH * sp.sqrt(SAMPLES) / _NOISE) ** (1 / BETA)
    left = sp.simplify(sp.log(signal.subs(HORIZON, edge) / noise).expand(force=True))
    trail = trail.then(
        "equal at the horizon",
        Equations(((HORIZON, edge),)),
        parents=(0, 1),
        reference=CAGNETTA,
        check="put back into signal = noise",
        residual=float(left),
    )
    loss = _GAIN * edge**-GAMMA
    trail = trail.then("loss above H_oo: what lies beyond the horizon is not used", loss, assumption="horizon-limited")
    exponent = sp.simplify(-SAMPLES * sp.diff(sp.log(loss).expand(force=True), SAMPLES))
    trail = trail.then("exponent", exponent, reference=CAGNETTA)
    observables = {"horizon": HORIZON, "loss": _GAIN * HORIZON**-GAMMA, "exponent": exponent}
    return FixedPoint((HORIZON,), (edge - HORIZON,), observables=observables, trail=trail)


def asymptotic(axis: str = "samples", beta: Any = BETA, gamma: Any = GAMMA) -> Any:
    """gamma/(2 beta) in samples, the one axis of which the theory speaks; slower learning within the horizon wins.

    Errors: `UnknownName` for another axis, `OutsideDomain` for exponents up to 0, `BadData` for what is no number.

    >>> asymptotic("samples", sp.Rational(88, 100), sp.Rational(325, 1000))
    65/352
    """
    if axis != "samples":
        raise UnknownName.among(axis, ("samples",), kind="axis", where=_NAME)
    beta, gamma = exact(beta, _NAME), exact(gamma, _NAME)
    for name, value in (("beta", beta), ("gamma", gamma)):
        if not value.free_symbols and exact_sign(value) <= 0:
            raise OutsideDomain(f"{name} = {float(value):.4g}", where=_NAME, remedy="correlations and entropies fall")
    return horizon().observables["exponent"].subs({BETA: beta, GAMMA: gamma})


def combined(beta: Estimate, gamma: Estimate) -> Estimate:
    """gamma/(2 beta) with the errors of both. Errors: `OutsideDomain` for exponents up to 0.

    >>> print(combined(Estimate(0.5, 0.0), Estimate(0.4, 0.1)))
    0.400 +- 0.100
    """
    if not (isinstance(beta, Estimate) and isinstance(gamma, Estimate)):
        raise BadData(f"{beta!r} and {gamma!r}", where=_NAME, remedy="give two Estimate(value, error)")
    value = float(asymptotic("samples", beta.value, gamma.value))
    return Estimate(value, float(value * np.hypot(beta.error / beta.value, gamma.error / gamma.value)))


def forecast(
    tokens: Any,
    window: tuple[float, float] | None = None,
    measured: tuple[Correlations, Entropies] | None = None,
) -> tuple[MechanismForecast, ...]:
    """Exponent of the loss of language models in tokens, from one text, or the reason why the text does not tell it.

    `tokens` a sequence of characters, words or numbers; `measured` what `text_statistics` found on it before. Each of
    the two exponents has a range that the text is long enough for; if either is too short there is no number.

    >>> row, = forecast(np.random.default_rng(0).integers(0, 4, 5000))
    >>> row.applies, row.because
    (False, 'no correlation beyond its noise at any lag')
    """
    if window is not None:
        window = interval(window, "window", _NAME, remedy="give 1 <= low < high")
    if measured is not None:
        pair = measured if isinstance(measured, tuple | list) else (measured,)
        if [type(one) for one in pair] != [Correlations, Entropies]:
            raise BadData(
                f"measured of type {type(measured).__name__}", where=_NAME, remedy="give (correlations, entropies)"
            )
    found, known = measured or (correlations(tokens), entropies(tokens))
    beta, why_beta = found.exponent()
    gamma, why_gamma = known.exponent()
    facts: dict[str, Any] = {
        "tokens": found.total,
        "beta": beta and beta.to_dict(),
        "gamma": gamma and gamma.to_dict(),
        "lags": list(found.range()),
        "contexts": list(known.range()),
    }
    if window is not None:
        facts["horizon"] = [found.horizon(samples) for samples in window]
    applies = found.range()[1] > 0
    exponent, because = None, why_beta
    if applies and beta is None:
        because = f"beta unknown: {why_beta}"
    elif applies and gamma is None:
        because = f"beta = {beta}, gamma unknown: {why_gamma}"
    elif beta is not None and gamma is not None:
        because = f"beta = {beta} ({why_beta}), gamma = {gamma} ({why_gamma})"
        if beta.value > 0 and gamma.value > 0:
            exponent = combined(beta, gamma)
        else:
            because += "; one of the two does not fall"
        if exponent is not None and exponent.error > WIDEST * exponent.value:
            because += f"; {exponent} is too wide to be a forecast"
            exponent = None
    return (
        MechanismForecast(
            mechanism=_NAME,
            axis="samples",
            exponent=exponent,
            applies=applies,
            because=because,
            formula=str(asymptotic()),
            window=window,
            loss="cross-entropy above its floor",
            reference=CAGNETTA,
            facts=facts,
        ),
    )
