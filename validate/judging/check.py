"""Check a claim: predict, hash, train, judge - in that order.

`check(theory, name)` returns the verdict; `run_claim` returns everything a report needs. Predictions are computed (and
written, if a ledger is given) before the experiment starts, and the verdict carries their hash.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ...solvers.predict import predict, solve
from ...solvers.prediction import Prediction
from ...theory.claims import Claim, Threshold
from ...theory.dataset import Dataset, PowerLaw
from ...theory.errors import BadData, OutsideDomain, UnknownName
from ...theory.model import Bound, Theory
from ...theory.setup import Instance
from ..experiments.experiment import Measurement, run
from .judge import judge
from .plan import plan, shortfall
from .verdict import Verdict


@dataclass(frozen=True, eq=False)
class Run:
    """Everything about one checked claim."""

    theory: str
    claim: Claim
    prediction: Prediction
    rival: Prediction
    measurement: Measurement
    verdict: Verdict


def check(theory: Theory | Bound, name: str | None = None, *, seed: int = 0, device: str | None = None) -> Verdict:
    """The verdict on one claim (the first, if none is named), on the claim's data or on data bound with `theory.on`.

    Errors: `UnknownName` for a claim that does not exist; `BadData` when the data cannot carry the claim;
    `OutsideDomain` for a learning rate beyond the threshold where the claim assumes convergence.
    """
    if not isinstance(theory, Theory | Bound):
        raise BadData(
            f"{theory!r} is no model", where="check", remedy="pass one, with its brackets: lm.DeepLinear(depth=3)"
        )
    claims = (theory.theory if isinstance(theory, Bound) else theory).claims()
    if name is None:
        name = claims[0].name
    return run_claim(theory, name, seed=seed, device=device).verdict


def run_claim(
    theory: Theory | Bound,
    name: str | Claim,
    *,
    seed: int = 0,
    device: str | None = None,
    progress: Callable[[float], None] | None = None,
    ledger: Any = None,
    comparisons: int | None = None,
) -> Run:
    """Predict, register, plan, measure, judge. `ledger.register(prediction, rival)` is called before the experiment.

    `verdict.numbers["plan"]` says how many seeds were needed, as worked out before the experiment: see `judging.plan`.
    """
    model = theory.theory if isinstance(theory, Bound) else theory
    claim = name if isinstance(name, Claim) else model.claim(name)
    if isinstance(theory, Bound):
        from ..inputs.suitability import require_suitable

        require_suitable(theory.data, claim)
    instances = draw(claim, theory.data if isinstance(theory, Bound) else None, seed)
    require_convergence(claim, instances)
    started = time.perf_counter()
    prediction = predict(claim, instances, theory=model.model_name())
    took = time.perf_counter() - started
    rival = predict(claim, instances, rival=True, theory=model.model_name())
    if ledger is not None:
        ledger.register(prediction, rival)
    planned = plan(claim, prediction, rival)
    seeds = range(seed, seed + claim.seeds)
    try:
        measurement = run(claim.observable, instances, seeds, device=device, progress=progress)
    except BadData as error:
        raise _explained(error, prediction) from error
    verdict = judge(claim, prediction, rival, measurement, comparisons=comparisons, theory=model.model_name())
    verdict = replace(verdict, theory_seconds=took)
    if planned:
        notes, numbers = (*verdict.notes, *shortfall(planned)), {**verdict.numbers, "plan": planned}
        verdict = replace(verdict, notes=notes, numbers=numbers)
    return Run(model.model_name(), claim, prediction, rival, measurement, verdict)


def _explained(error: BadData, prediction: Prediction) -> BadData | OutsideDomain:
    """Why training failed, as far as the theory foresaw it: an assumption of the forecast does not hold there."""
    failing = [entry for entry in prediction.assumptions if not entry["holds"]]
    if not failing:
        return error
    reasons = ", ".join(f"{entry['name']}: {entry['distance']:.3g}, at most {entry['radius']:g}" for entry in failing)
    found = f"{error.found}, where the theory does not apply ({reasons})"
    return OutsideDomain(found, where=error.where, remedy=error.remedy)


def draw(claim: Claim, data: Dataset | None, seed: int) -> Sequence[Sequence[Instance]]:
    """instances[seed][axis value]: one row per seed when weights are drawn, one row in all when only samples are."""
    rows = range(seed, seed + (claim.seeds if claim.setup.procedure in ("full_batch", "online") else 1))
    data = data or arrays(claim.setup.data)
    if isinstance(claim, Threshold):
        return [[setup.draw(row, data) for setup in _around_threshold(claim, row, data)] for row in rows]
    return [[setup.draw(row, data) for setup in claim.settings()] for row in rows]


def _stated(instance: Instance, rate: float) -> str:
    """A learning rate as the setup states it, in its own unit."""
    optimizer = instance.setup.optimizer
    stated = f"{rate * optimizer.learning_rate / instance.learning_rate:.2g}"
    return stated if optimizer.unit == "1" else f"{stated} in the unit {optimizer.unit}"


def require_convergence(claim: Claim, instances: Sequence[Sequence[Instance]]) -> None:
    """Refuse learning rates beyond the one where the claim's training stops converging, before anything is computed.

    A claim that assumes convergence carries a law for that rate in options["critical"]. Raises `OutsideDomain`.
    """
    law = claim.options.get("critical")
    if law is None:
        return
    for instance in (instance for row in instances for instance in row):
        critical, rate = float(solve(law, instance).values[-1, 0]), instance.learning_rate
        if rate >= critical:
            raise OutsideDomain(
                f"learning rate {rate:.4g} is beyond the threshold {critical:.4g} ({law.name})",
                where=claim.name,
                remedy=f"training does not converge there: lower it, say to {_stated(instance, critical / 4)}",
            )


def _around_threshold(claim: Threshold, seed: int, data: Dataset | None):
    """The setup at the claimed multiples of the predicted critical learning rate."""
    critical = float(solve(claim.critical, claim.setup.draw(seed, data)).values[-1, 0])
    return [claim.setup.at(learning_rate=multiple * critical) for multiple in claim.values]


def arrays(source: str | Dataset | PowerLaw) -> Dataset | None:
    """Built-in data by name; arrays and distributions need no loading."""
    if not isinstance(source, str):
        return None
    from ..inputs.data import load, names

    if source not in names():
        raise UnknownName.among(source, names(), kind="data set")
    return load(source)
