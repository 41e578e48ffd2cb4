r"""How fast the eigenvalues of a zonal kernel fall: the exponent and its constant, from the kernel's singularities.

Only points where kappa is no smooth function of t keep eigenvalues from falling faster than any power. For networks
these are coincident and opposite inputs, where kappa has terms c (1 -+ t)^nu with nu not whole. Each has, exactly,

    lambda_k[(1 - t)^nu] = C(d, nu) Gamma(k - nu) / Gamma(k + nu + d - 1),
    C(d, nu) = 2^nu Gamma(d-1) Gamma(nu + (d-1)/2) / (Gamma((d-1)/2) Gamma(-nu)),

and (-1)^k times that for 1 + t, so with x = k + (d-2)/2, up to relative order x^-2,

    lambda_k ~ C(d, nu) (c_+ + (-1)^k c_-) x^-(d - 1 + 2 nu),

an exponent per mode of (d - 1 + 2 nu)/(d - 1) among the ~ k^(d-1) modes. The terms come from composing the expansions
of layers, so this holds at any depth.

References: Bietti & Bach 2021 (arXiv:2009.14397); Bietti & Mairal 2019 (arXiv:1905.12173).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import sympy as sp

from ..errors import NoClosedForm
from ..trail import Trail
from .local_expansion import NeedsMoreOrders, at_end
from .zonal import Numbers, T, Zonal, evaluate, parts, zonal

DIMENSION = sp.Symbol("d", positive=True)
LEVEL = sp.Symbol("k", positive=True)
BIETTI_BACH = "Bietti & Bach 2021 (arXiv:2009.14397)"
_ORDERS = (3, 4, 6, 12, 24)
_SHORT = 40  # distinct parts of a formula whose terms are computed exactly
_ENTIRE = {"exp", "sin", "cos", "sinh", "cosh"}


@dataclass(frozen=True)
class Decay:
    """How eigenvalues fall with the level k.

    `kind`    "power law", "geometric" (rate^-k up to powers), "faster than geometric", "finite" (a polynomial), or
              "faster than any power" where no more is known
    `plus`, `minus`  {nu: c}: terms c (1 - t)^nu at coincident and c (1 + t)^nu at opposite points, nu not whole
    `rate`    of a geometric decay: lambda_k ~ rate^-k

    >>> law = decay((sp.pi - sp.acos(T)) / sp.pi)
    >>> law.exponent, law.index_exponent
    (d, d/(d - 1))
    """

    kind: str
    plus: Mapping = field(default_factory=dict)
    minus: Mapping = field(default_factory=dict)
    rate: float | None = None
    trail: Trail = field(default_factory=Trail, compare=False)

    @property
    def smoothness(self) -> sp.Rational | None:
        """nu of the strongest singularity: kappa is smooth up to a term (1 -+ t)^nu. None: there is none."""
        return min((*self.plus, *self.minus), default=None)

    @property
    def exponent(self) -> sp.Expr:
        """lambda_k ~ k^-exponent, d the dimension of the ambient space; infinite for smooth kernels."""
        return sp.oo if self.smoothness is None else sp.expand(DIMENSION - 1 + 2 * self.smoothness)

    @property
    def index_exponent(self) -> sp.Expr:
        """lambda_i ~ i^-index_exponent, the modes counted one by one."""
        return sp.oo if self.smoothness is None else sp.factor(self.exponent / (DIMENSION - 1))

    def of_parity(self, odd: bool) -> tuple[sp.Rational, sp.Expr] | None:
        """(nu, c) of the levels of one parity: the first nu where c_+ + (-1)^k c_- does not vanish, or None.

        >>> decay((sp.pi - sp.acos(T)) / sp.pi).of_parity(odd=False) is None  # even levels above 0 vanish
        True
        """
        for nu in sorted({*self.plus, *self.minus}):
            total = self.plus.get(nu, sp.S.Zero) + (-1) ** odd * self.minus.get(nu, sp.S.Zero)
            if abs(sp.N(total, 30)) > 1e-20:
                return nu, total
        return None

    def constant(self, odd: bool = False) -> sp.Expr:
        """Limit of lambda_k (k + (d-2)/2)^(d - 1 + 2 nu) over levels of one parity, in the symbol d.

        >>> decay((sp.pi - sp.acos(T)) / sp.pi).constant(odd=True).subs(DIMENSION, 3)
        1/pi
        """
        found = self.of_parity(odd)
        return sp.S.Zero if found is None else sp.simplify(singular_constant(*found))

    def eigenvalue(self, level: Any, dimension: int, odd: bool | None = None) -> Any:
        """Asymptotic series of lambda_level: all singular terms that are known, each exactly, as an mpmath number.

        A level that is not whole lies on the curve through the levels of the parity that `odd` states.
        """
        import mpmath

        m = mpmath.mp
        odd = level % 2 == 1 if odd is None else odd
        k, d = m.mpf(level), m.mpf(dimension)
        total = m.zero
        for sign, terms in ((1, self.plus), (-1 if odd else 1, self.minus)):
            for nu, c in terms.items():
                power = m.mpf(nu.p) / nu.q
                scale = 2**power * m.gamma(d - 1) * m.gamma(power + (d - 1) / 2) / m.gamma((d - 1) / 2)
                total += sign * m.mpf(sp.N(c, 30)) * scale * m.gammaprod([k - power], [-power, k + power + d - 1])
        return total

    def at(self, dimension: int) -> str:
        """In words, in one dimension.

        >>> decay((sp.pi - sp.acos(T)) / sp.pi).at(3)
        'k^-(d) = k^-3, mode by mode i^-3/2'
        """
        if self.kind != "power law":
            return str(self)
        level, mode = (e.subs(DIMENSION, dimension) for e in (self.exponent, self.index_exponent))
        return f"k^-({self.exponent}) = k^-{level}, mode by mode i^-{mode}"

    def __str__(self) -> str:
        if self.kind == "power law":
            return f"k^-({self.exponent}), index exponent {self.index_exponent}"
        return f"{self.kind}: {self.rate:.6g}^-k" if self.rate else self.kind

    def _latex(self, printer=None, **_) -> str:
        if self.kind == "power law":
            return rf"\lambda_k \sim k^{{-{sp.latex(sp.Add(self.exponent), order='none')}}}"
        return rf"\lambda_k \sim {self.rate:.6g}^{{-k}}" if self.rate else rf"\text{{{self.kind}}}"

    def _repr_latex_(self) -> str:
        return f"$\\displaystyle {self._latex()}$"

    def to_dict(self) -> dict:
        return {
            "kind": self.kind,
            "exponent": str(self.exponent),
            "index_exponent": str(self.index_exponent),
            "rate": self.rate,
            "plus": {str(nu): str(c) for nu, c in self.plus.items()},
            "minus": {str(nu): str(c) for nu, c in self.minus.items()},
        }


def singular_constant(nu: Any, coefficient: Any = 1, dimension: Any = DIMENSION) -> sp.Expr:
    """C(d, nu) c: the limit of lambda_k (k + (d-2)/2)^(d - 1 + 2 nu) for kappa = c (1 - t)^nu.

    >>> singular_constant(sp.S.Half, dimension=3)
    -sqrt(2)/4
    """
    nu, half = sp.sympify(nu), (sp.sympify(dimension) - 1) / 2
    scale = 2**nu * sp.gamma(2 * half) * sp.gamma(nu + half) / (sp.gamma(half) * sp.gamma(-nu))
    return sp.sympify(coefficient) * scale


@lru_cache(maxsize=128)
def _decay(kernel: Zonal) -> Decay:
    formula = kernel.formula
    if formula is None:
        raise NoClosedForm(f"{kernel.name} has no formula", where="decay", remedy="read the exponent off the numbers")
    trail = Trail().then("kernel", formula)
    if kernel.short and formula.is_polynomial(T):
        return Decay("finite", trail=trail.then("polynomial", f"levels above {sp.degree(formula, T)} vanish"))
    ends = {}
    for end, place in ((1, "coincident"), (-1, "opposite")):
        expansion = _expanded(kernel, end)
        terms = {nu: _recognised(c) for nu, c in expansion.singular().items()}
        ends[end] = terms
        w = sp.Symbol("w", positive=True)
        found = sp.Add(*(c * w**nu for nu, c in terms.items())) if terms else sp.S.Zero
        how = "analytic: no step makes a fractional power" if expansion.analytic else f"terms below w^{expansion.order}"
        trail = trail.then(
            f"singular part at {place} points, w = 1 {'-' if end > 0 else '+'} t", found, parents=(0,), check=how
        )
    if not ends[1] and not ends[-1]:
        kind, rate = _smooth_rate(formula)
        words = kind if rate is None else f"{kind}, lambda_k ~ {rate:.10g}^-k"
        return Decay(kind, rate=rate, trail=trail.then("smooth at both ends", words, parents=(1, 2)))
    law = Decay("power law", ends[1], ends[-1])
    trail = trail.then(
        "eigenvalues of singular terms",
        sp.Symbol("lambda_k") * LEVEL**law.exponent,
        parents=(1, 2),
        reference=BIETTI_BACH,
        check="exact for every term (1 -+ t)^nu",
    )
    return Decay("power law", ends[1], ends[-1], trail=trail)


def decay(kernel: Any, which: str = "ntk") -> Decay:
    """The decay of a zonal kernel's eigenvalues, at any depth. Raises `NoClosedForm` for kernels without a formula.

    >>> from ..regression.kernels import laplace, nngp, ntk, rbf
    >>> [str(decay(kernel).exponent) for kernel in (ntk(depth=2), ntk(depth=7), nngp(depth=4), laplace())]
    ['d', 'd', 'd + 2', 'd']
    >>> decay(rbf()).kind
    'faster than geometric'
    """
    return _decay(zonal(kernel, which))


def _expanded(kernel: Zonal, end: int) -> Any:
    """The expansion at one end, with more orders until singular terms are seen or none can exist; exact if short."""
    found = None
    for order in _ORDERS:
        try:
            expansion = at_end(kernel.formula, end, order)
        except NeedsMoreOrders:
            continue
        if expansion.analytic or len(expansion.singular()) >= 2:
            exact = kernel.short and len(parts(kernel.formula)) <= _SHORT and order <= _ORDERS[2]
            return at_end(kernel.formula, end, order, exact=True) if exact else expansion
        found = expansion if expansion.singular() else None
    if found is not None:  # a single term is all there is
        return found
    raise NoClosedForm(
        f"no singular terms up to order {_ORDERS[-1]}, and no proof that there are none",
        where="decay",
        remedy="use numbers",
    )


def _recognised(coefficient: Any) -> sp.Expr:
    """An exact coefficient as it is; of 60 digits, the rational multiple of a unit that it is to 45, if it is one."""
    if isinstance(coefficient, sp.Expr):
        return coefficient
    number = sp.Float(coefficient, 50)
    for unit in (sp.sqrt(2) / sp.pi, sp.S.One, sp.sqrt(2), 1 / sp.pi):
        ratio = sp.N(number / unit, 50)
        simple = sp.nsimplify(ratio, rational=True, tolerance=sp.Float("1e-20"))
        if simple.q < 10**6 and abs(ratio - simple) < sp.Float("1e-45") * abs(ratio):
            return simple * unit
    return number


def _smooth_rate(formula: sp.Expr) -> tuple[str, float | None]:
    """Geometric rate from the nearest singularity z > 1 on the real axis: z + sqrt(z^2 - 1).

    The power series of a kernel that is positive definite in every dimension has no negative coefficient, so by
    Pringsheim's theorem its nearest singularity is real and positive, and no other lies on a smaller ellipse.
    """
    import mpmath

    made = parts(formula)
    functions = {type(part).__name__ for part in made if isinstance(part, sp.Function) and made[part]}
    powers = [p for p in made if p.is_Pow and made[p] and not (p.exp.is_Integer and p.exp > 0) and p.base != sp.E]
    if functions <= _ENTIRE and not powers:
        return "faster than geometric", None
    context = mpmath.mp.clone()
    context.dps = 30
    algebra = Numbers(context)

    def regular(t):
        try:
            value = evaluate(formula, algebra, t)
        except (ZeroDivisionError, TypeError, NoClosedForm):  # infinite, or complex further inside
            return False
        return isinstance(value, context.mpf) and bool(context.isfinite(value))

    low, high = context.one, context.mpf(2)
    while regular(high):
        low, high = high, 2 * high
        if high > 1000:
            return "faster than any power", None
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if regular(middle) else (low, middle)
    return "geometric", float(low + context.sqrt(low * low - 1))
