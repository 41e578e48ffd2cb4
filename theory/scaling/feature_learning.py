r"""Features that move help with hard tasks: the time exponent s = (target_exponent - 1)/capacity becomes 2 s/(1 + s).

A two-layer linear network that starts small moves its function beta by the kernel |beta| (I + bb'), which grows with
what is learned. In the effective time T of a fixed kernel, T' = |beta|, modes up to k* = T^(1/capacity) are learned:

    |beta|^2 = sum_{k < k*} w_k^2 ~ k*^(1 + capacity - target)     grows only if the task is hard, s < 1:

    T' ~ T^((1 - s)/2),     T ~ t^(2/(1 + s)),     loss ~ T^-s = t^(-2 s/(1 + s)).

Easy tasks (s > 1) have weights of finite norm: the kernel stops growing, and no exponent changes.

>>> found = feature_learning(2, "7/5")
>>> found.task, found.lazy, found.rich, found.rich_compute
('hard', 1/5, 1/3, 2/11)
"""

from dataclasses import dataclass, field
from functools import cache
from typing import Any

import sympy as sp

from ..dynamics.products.single_neuron import KUNIN, function_flow
from ..dynamics.spectral_decay import spectral_decay
from ..errors import NoClosedForm
from ..symbols import modes, over, positive, scalars
from ..system import Flow
from ..trail import Trail
from .balance import BestSplit, Term, best_split
from .exact_signs import exact_sign, tidy
from .power_law_sums import partial_sum
from .source_capacity import CAPACITY, TARGET, asymptotic, checked, compute_optimal

REFERENCE = "Bordelon, Atanasov & Pehlevan 2024, arXiv:2409.17858"
HARDNESS = positive("s")  # (target_exponent - 1) / capacity


@dataclass(frozen=True)
class FeatureLearning:
    """Exponents of a task under a fixed and under a moving kernel: loss ~ t^-`lazy`, t^-`rich`; compute likewise.

    `task`      "hard": its weights have infinite norm; "easy"; "super-easy": sampling noise of SGD is slower still
    `hardness`  s = (target_exponent - 1)/capacity, below 1 for hard tasks
    `width`     (lazy, rich): the best parameters ~ compute^width
    """

    capacity: Any
    target_exponent: Any
    task: str
    hardness: Any
    lazy: Any
    rich: Any
    lazy_compute: Any
    rich_compute: Any
    width: tuple[Any, Any]
    notes: tuple[str, ...] = ()
    trail: Trail = field(default=Trail(), repr=False)

    def to_dict(self) -> dict:
        return {
            "capacity": str(self.capacity),
            "target_exponent": str(self.target_exponent),
            "task": self.task,
            "hardness": str(self.hardness),
            "steps": {"lazy": str(self.lazy), "rich": str(self.rich)},
            "compute": {"lazy": str(self.lazy_compute), "rich": str(self.rich_compute)},
            "width": {"lazy": str(self.width[0]), "rich": str(self.width[1])},
            "notes": list(self.notes),
            "trail": self.trail.to_dict(),
        }

    def __str__(self) -> str:
        rows = (("steps", self.lazy, self.rich), ("compute", self.lazy_compute, self.rich_compute))
        lines = [f"Task: {self.task}, (target_exponent - 1)/capacity = {self.hardness}"]
        lines += [f"  {axis:<8} lazy {_both(lazy)}, rich {_both(rich)}" for axis, lazy, rich in rows]
        lines += [f"  width    compute^{self.width[0]} lazy, compute^{self.width[1]} rich"]
        return "\n".join([*lines, *(f"  note     {note}" for note in self.notes)])

    __repr__ = __str__

    def _repr_latex_(self) -> str:
        return rf"$L_{{lazy}} \sim t^{{-{sp.latex(self.lazy)}}},\quad L_{{rich}} \sim t^{{-{sp.latex(self.rich)}}}$"


def feature_learning(capacity: Any, target_exponent: Any) -> FeatureLearning:
    """Exponents in time and compute with features that stay or move; capacity > 1, target_exponent > 1.

    Full-batch gradient flow on the population from a small, balanced start; "super-easy" says that one-pass SGD at a
    constant rate would be limited by its own noise, 2 - 1/capacity, in both regimes.
    Errors: `OutsideDomain`. Reference: Bordelon, Atanasov & Pehlevan 2024 (arXiv:2409.17858).

    >>> print(feature_learning(2, 4))
    Task: easy, (target_exponent - 1)/capacity = 3/2
      steps    lazy 3/2 = 1.5000, rich 3/2 = 1.5000
      compute  lazy 3/4 = 0.7500, rich 3/4 = 0.7500
      width    compute^1/2 lazy, compute^1/2 rich
      note     on the line where sampling noise of one-pass SGD decays as fast as the signal
    """
    capacity, target_exponent = checked(capacity, target_exponent, where="feature_learning", symbols=False)
    lazy = tidy(asymptotic("steps", capacity, target_exponent))
    rich = tidy(time_exponent(capacity, target_exponent))
    side, noise = exact_sign(lazy - 1), exact_sign(target_exponent - 2 * capacity)
    task = "hard" if side < 0 else "super-easy" if noise > 0 else "easy"
    notes = []
    if side == 0:
        notes.append(
            "on the line between hard and easy: |beta|^2 grows as log T, a logarithm that the powers leave out"
        )
    if noise == 0:
        notes.append("on the line where sampling noise of one-pass SGD decays as fast as the signal")
    fixed = compute_optimal(capacity, target_exponent)
    moving = rich_compute(capacity, target_exponent)
    return FeatureLearning(
        capacity,
        target_exponent,
        task,
        lazy,
        lazy,
        rich,
        fixed.exponent,
        moving.exponent,
        (fixed.split["parameters"], moving.split["parameters"]),
        tuple(notes),
        derivation(),
    )


def time_exponent(capacity: Any = CAPACITY, target_exponent: Any = TARGET) -> Any:
    """The exponent of the loss in time for features that move: max(s, 2 s/(1 + s)), s = (target_exponent - 1)/capacity.

    >>> time_exponent(2, 2), time_exponent(2, 4)
    (2/3, 3/2)
    """
    capacity, target_exponent = checked(capacity, target_exponent)
    return _derived()[0].subs(HARDNESS, (target_exponent - 1) / capacity)


def rich_compute(capacity: Any, target_exponent: Any) -> BestSplit:
    """The best split of compute = parameters x steps for features that move; easy tasks: as for features that stay.

    >>> print(rich_compute(2, 2))
    loss ~ budget^-(2/5), parameters ~ budget^(2/5), steps ~ budget^(3/5): time = floor
    """
    capacity, target_exponent = checked(capacity, target_exponent, where="rich_compute", symbols=False)
    if exact_sign(target_exponent - 1 - capacity) >= 0:
        return compute_optimal(capacity, target_exponent)
    time = Term("time", {"parameters": sp.S.Zero, "steps": tidy(time_exponent(capacity, target_exponent))})
    floor = Term("floor", {"parameters": tidy(asymptotic("parameters", capacity, target_exponent))})
    return best_split((time, floor))


def _both(exponent: Any) -> str:
    return f"{exponent} = {float(exponent):.4f}"


def derivation() -> Trail:
    """Every step from the network's gradient flow to the exponent.

    >>> print(derivation().steps[-1].result)
    Max(s, 2*s/(s + 1))
    """
    return _derived()[1]


@cache
def growing_kernel() -> Flow:
    """Hard tasks at late times: T' = T^((1 - s)/2), whose loss T^-s falls as t^(-2 s/(1 + s)); with its derivation.

    >>> print(growing_kernel().equations[0])
    T**(1/2 - s/2)
    """
    T = positive("T")
    power = (1 - HARDNESS) / 2
    chi, trail = _derived()
    assert tidy(HARDNESS / (1 - power) - max(chi.args, key=lambda part: part.count_ops())) == 0
    return Flow((T,), (T**power,), observables={"loss": T**-HARDNESS}, trail=trail)


@cache
def effective_time() -> Flow:
    """The effective time T of a fixed unit kernel, sped up by the kernel's own growth: all modes follow it.

    T' = (kappa + delta)/2, kappa = sqrt(delta^2 + 4 |beta|^2), beta_k = w_k (1 - exp(-lambda_k T)): the function flow
    of a two-layer linear network with imbalance delta, without the part of its kernel along beta. delta = 0 is rich.

    >>> print(effective_time().observables["loss"])
    over(lambda*w**2*exp(-2*lambda*T))/2
    """
    lam, w = modes("lambda w")
    clock, delta = sp.Symbol("T", nonnegative=True), scalars("delta")
    norm = over((w * (1 - sp.exp(-lam * clock))) ** 2)
    rate = (sp.sqrt(delta**2 + 4 * norm) + delta) / 2
    loss = over(lam * w**2 * sp.exp(-2 * lam * clock)) / 2
    whole = function_flow()
    trail = whole.trail.then(
        "modes share one time: the kernel is a number times the identity",
        rate,
        assumption="the part of the kernel along beta changes its length only, and no order of modes",
        reference=KUNIN,
    )
    return Flow((clock,), (rate,), observables={"loss": loss, "norm": sp.sqrt(norm)}, trail=trail)


@cache
def _derived() -> tuple[Any, Trail]:
    """The rich exponent in s, with its derivation."""
    flow = function_flow()
    (equation,) = flow.equations
    small = {scalars("delta"): 0}
    small |= dict.fromkeys(positive("eta_a eta_w"), 1)
    kernel = sp.simplify(equation.subs(small))
    trail = flow.trail.then(
        "small balanced start, equal rates: the kernel grows with the function",
        kernel,
        assumption="imbalance delta = 0",
        reference=KUNIN,
    )
    at = len(trail.steps) - 1
    # lambda w^2 = k^-target: w^2 = k^(capacity - target); the sum up to k* is bulk or head
    bulk, head = partial_sum(TARGET - CAPACITY)
    hard = tidy(-bulk.exponent)  # |beta|^2 ~ k*^hard, if that is positive
    in_hardness = {TARGET: 1 + HARDNESS * CAPACITY}
    trail = trail.then(
        "norm of what is learned: |beta|^2 = sum_{k < k*} k^(capacity - target_exponent)",
        f"|beta|^2 ~ k*^({hard}) if that grows, constant otherwise",
        check=f"bulk k*^({sp.expand(-bulk.exponent)}), head k*^{head.exponent}",
        reference=REFERENCE,
        parents=(at,),
    )
    power = sp.expand(tidy((hard / 2 / CAPACITY).subs(in_hardness)))
    if power.has(CAPACITY):
        raise NoClosedForm(f"the growth {power} depends on the capacity", where="feature learning")
    clock, T = positive("t T")
    trail = trail.then("modes up to k* = T^(1/capacity) are learned: T' = |beta|", T**power, reference=REFERENCE)
    elapsed = T ** (1 - power) / (1 - power)  # from T = 0: power < 1/2
    assert sp.simplify(elapsed.diff(T) - T**-power) == 0
    grown = tidy(1 / sp.simplify(T * elapsed.diff(T) / elapsed))  # T ~ t^grown
    trail = trail.then("integrated: t = int dT / |beta|", clock**grown, check=f"t = {elapsed}", reference=REFERENCE)
    decay = tidy(spectral_decay(TARGET, CAPACITY)[0].subs(in_hardness))
    chi = tidy(decay * grown)
    trail = trail.then("loss ~ T^-s, as for a fixed kernel", chi, assumption="hard: s < 1", reference=REFERENCE)
    both = sp.Max(HARDNESS, chi)
    # 2 s/(1+s) - s = s (1 - s)/(1 + s): the larger of the two is the right one on either side
    assert tidy(chi - HARDNESS - HARDNESS * (1 - HARDNESS) / (1 + HARDNESS)) == 0
    check = "their difference has the sign of 1 - s"
    return both, trail.then("hard and easy tasks in one formula", both, check=check, reference=REFERENCE)
