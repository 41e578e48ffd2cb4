"""How many seeds a claim needs, worked out from the two forecasts before anything is trained.

    seeds = (6 scatter / (|rival - law| - budget))^2:    the gap that must be seen, in standard errors of a mean

The scatter of one seed is what the claim expects, `options["scatter"]`; it judges nothing, so a wrong guess costs
seeds and no truth.
"""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np

from ...solvers.prediction import Prediction
from ...theory.claims import Claim, Scales
from .judge import seeds_needed


def plan(claim: Claim, prediction: Prediction, rival: Prediction) -> dict[str, Any]:
    """Seeds needed to refute the rival, beside those the claim has; empty where seeds do not scatter or none is stated.

    `seeds_needed` is None where law and rival differ by less than the budget: no number of seeds tells them apart.

    >>> from types import SimpleNamespace as Record
    >>> from ...theory.claims import Equals
    >>> claim = Equals("loss", "", "loss", None, None, None, seeds=100, stochastic=True, relative="point",
    ...                budget={"declared": 0.25}, options={"scatter": 1.0})
    >>> law, rival = (Record(values=np.full((1, 1, 1, 1), v), abscissa=np.ones((1, 1))) for v in (1.0, 1.5))
    >>> plan(claim, law, rival)
    {'scatter': 1.0, 'seeds': 100, 'seeds_needed': 576}
    """
    scatter = claim.options.get("scatter")
    if scatter is None or not claim.stochastic:
        return {}
    budget = float(sum(getattr(claim, "budget", {}).values()))
    if isinstance(claim, Scales):
        budget += max(record.slope_error or 0.0 for record in (prediction, rival))
        law, other = (SimpleNamespace(values=np.full((1, 1, 1, 1), record.slope)) for record in (prediction, rival))
        needed = seeds_needed(law, other, scatter, budget=budget, relative="none")
    else:
        law, other = (_judged(claim, record) for record in (prediction, rival))
        needed = seeds_needed(law, other, scatter, budget=budget, relative=claim.relative, share=0.0)
    return {"scatter": float(scatter), "seeds": claim.seeds, "seeds_needed": needed}


def shortfall(planned: Mapping[str, Any]) -> tuple[str, ...]:
    """The line a card carries where fewer seeds were run than the plan asked for.

    >>> shortfall({"scatter": 1.0, "seeds": 100, "seeds_needed": 576})
    ('576 seeds were needed by the plan made before training, 100 were run',)
    """
    needed = planned.get("seeds_needed")
    if not needed or needed <= planned["seeds"]:
        return ()
    return (f"{needed} seeds were needed by the plan made before training, {planned['seeds']} were run",)


def _judged(claim: Claim, record: Prediction) -> SimpleNamespace:
    """The part of a forecast inside the claim's window; one clear point in it is enough to refute a rival."""
    low, high = claim.options.get("window", (-np.inf, np.inf))
    inside = (record.abscissa[0] >= low) & (record.abscissa[0] <= high)
    return SimpleNamespace(values=record.values[:, :, inside])
