"""Conserved quantities, found by linear algebra, and what one discrete step makes of them.

Among all polynomials of bounded degree (scalars), or all short words (matrices), those with zero rate of change form
the null space of a matrix. For any linear network the search returns balancedness,

    W_{l+1}' W_{l+1} - W_l W_l',

and one step of gradient descent changes it by exactly eta^2 (g_{l+1}' g_{l+1} - g_l g_l').

>>> from .derive import network_flow
>>> from ..architecture.network import chain
>>> conserved(network_flow(chain("input", "first", "second", "output")))
(-W1*W1.T + W2.T*W2, -W2*W2.T + W3.T*W3)
"""

from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

import sympy as sp
from sympy.polys.matrices import DomainMatrix

from ..conservation.scalar_laws import scalar_laws
from ..errors import AssumptionViolated, NoClosedForm
from ..symbols import LEARNING_RATE
from ..system import FixedPoint, Flow, require_system
from .network_flow import network_flow
from .noncommutative import Letter, Word, Words, is_symmetric, letter_shape, trace_terms, transpose_word, words
from .reduce import vanishing


def conserved(system, degree: int = 2) -> tuple[Any, ...]:
    """Independent conserved quantities of a polynomial flow or map, up to a degree in its unknowns.

    Scalars: minimal generators, so a product of two conserved quantities is not listed again; coefficients may hold
    parameters. Matrices: combinations of words of at most that many unknowns, then traces that these do not imply.
    Laws of single entries (heads that share an array, scales) are no words: `conservation_laws` finds these.
    Raises `NoClosedForm` for a fixed point or equations that are not polynomial. Marcotte, Gribonval & Peyre 2023,
    arXiv:2307.00144.

    >>> from .derive import gradient_flow
    >>> a, b, c, s = sp.symbols("a b c s", real=True)
    >>> conserved(gradient_flow((s - a * b) ** 2 / 2, on=(a, b)))
    (a**2 - b**2,)
    >>> conserved(gradient_flow((s - a * b**2 * c) ** 4, on=(a, b, c)))
    (2*a**2 - b**2, a**2 - c**2)
    """
    require_system(system, "conserved")
    if isinstance(system, FixedPoint):
        raise NoClosedForm("a fixed point has no dynamics", where="conserved", remedy="give a flow or a map")
    if any(isinstance(unknown, sp.MatrixSymbol) for unknown in system.unknowns):
        if any(equation.has(sp.DiagonalOf) for equation in system.equations):
            raise NoClosedForm(
                "some weights scale entry by entry, so that laws are no words of matrices",
                where="conserved",
                remedy="give the sizes to conservation_laws, which works in entries",
            )
        matrices = _matrix_invariants(system, degree)
        found = (*matrices, *_trace_invariants(system, matrices))
    else:
        found = scalar_laws(system, degree)
    for invariant in found:
        verify(system, invariant)
    return found


def conserved_for_any_loss(network, degree: int = 2) -> tuple[Any, ...]:
    """What a linear network conserves under gradient flow on every smooth loss of its end-to-end map, on any data.

    The derivative G of the loss by the map stays a free matrix, so that only what holds for all G is found: chains,
    skips, ties and gates at symbolic sizes. Arora, Cohen & Hazan 2018, arXiv:1802.06509.

    >>> from ..architecture.network import chain
    >>> conserved_for_any_loss(chain("input", "first", "output"))
    (-W1*W1.T + W2.T*W2,)
    """
    return conserved(network_flow(network, loss="any"), degree)


def rate_of_change(system, quantity: Any) -> Any:
    """Time derivative along a flow, or change under one step of a map; zero for a conserved quantity.

    >>> from .derive import network_flow
    >>> from ..architecture.network import chain
    >>> flow = network_flow(chain("input", "output"))
    >>> W1 = flow.unknowns[0]
    >>> print(rate_of_change(flow, W1 * W1.T))
    Sigma_yx*W1.T - 2*W1*Sigma_xx*W1.T + W1*Sigma_yx.T
    """
    field = dict(zip(system.unknowns, system.equations, strict=True))
    if not any(isinstance(unknown, sp.MatrixSymbol) for unknown in system.unknowns):
        if isinstance(system, Flow):
            return vanishing(sum(sp.diff(quantity, u) * f for u, f in field.items()))
        return vanishing(quantity.subs(field, simultaneous=True) - quantity)
    rates = {u: words(f).expanded() for u, f in field.items()}
    if isinstance(quantity, sp.MatrixExpr):
        return _moved(system, words(quantity).expanded(), rates).matrix()
    terms = cyclic([(c, _moved(system, p, rates)) for c, p in trace_terms(quantity)[1]])
    return sp.Add(*(value * sp.Trace(_word_matrix(word)) for word, value in terms.items()))


def verify(system, invariant: Any) -> None:
    """Raises `AssumptionViolated` with the rate of change unless the quantity is conserved exactly.

    >>> from .derive import gradient_flow
    >>> a, b, s = sp.symbols("a b s", real=True)
    >>> verify(gradient_flow((s - a * b) ** 2 / 2, on=(a, b)), a**2 + b**2)
    Traceback (most recent call last):
    ...
    learning_mechanics.theory.errors.AssumptionViolated: a**2 + b**2 changes at the rate 4*a*b*(-a*b + s); \
it is not conserved
    """
    rate = rate_of_change(system, invariant)
    if not (rate == 0 or isinstance(rate, sp.ZeroMatrix)):
        raise AssumptionViolated(f"{invariant} changes at the rate {rate}", remedy="it is not conserved")


def discrete_drift(system, invariant: Any, learning_rate: Any = LEARNING_RATE) -> Any:
    """The exact change of a conserved quantity of a flow in one gradient-descent step of that size.

    `system` is the flow, or the map itself (whose learning rate is then used). The part linear in the step is derived
    and must vanish; what remains is returned. Kunin et al. 2020, arXiv:2012.04728.

    >>> from .derive import network_flow
    >>> from ..architecture.network import chain
    >>> flow = network_flow(chain("input", "width", "output"))
    >>> W1, W2 = flow.unknowns
    >>> drift = discrete_drift(flow, W2.T * W2 - W1 * W1.T)
    >>> g1, g2 = flow.equations
    >>> words(drift - sp.Symbol("eta", positive=True)**2 * (g2.T * g2 - g1 * g1.T)).expanded().is_zero
    True
    """
    if not any(isinstance(unknown, sp.MatrixSymbol) for unknown in system.unknowns):
        return _scalar_drift(system, invariant, learning_rate)
    steps = {}
    for unknown, equation in zip(system.unknowns, system.equations, strict=True):
        flow = isinstance(system, Flow)
        steps[unknown] = words(equation).scaled(learning_rate) if flow else words(equation) - words(unknown)
    if isinstance(invariant, sp.MatrixExpr):
        linear, rest = _orders(words(invariant).expanded(), steps)
        if not linear.expanded().is_zero:
            raise AssumptionViolated(f"{invariant} is not conserved to first order", where="discrete_drift")
        return rest.matrix()
    parts = [(c, *_orders(p, steps)) for c, p in trace_terms(invariant)[1]]
    if cyclic([(c, linear.expanded()) for c, linear, _ in parts]):
        raise AssumptionViolated(f"{invariant} is not conserved to first order", where="discrete_drift")
    return sp.Add(*(c * sp.Trace(rest.matrix()) for c, _, rest in parts if not rest.is_zero))


def _scalar_drift(system, invariant, learning_rate):
    eta = learning_rate if isinstance(system, Flow) else LEARNING_RATE
    field = dict(zip(system.unknowns, system.equations, strict=True))
    step = {u: u + eta * f for u, f in field.items()} if isinstance(system, Flow) else field
    change = sp.expand(invariant.subs(step, simultaneous=True) - invariant)
    if sp.expand(change.coeff(eta, 1)) != 0:
        raise AssumptionViolated(f"{invariant} is not conserved to first order", where="discrete_drift")
    return sp.factor(change)


def _orders(polynomial: Words, steps: Mapping[Any, Words]) -> tuple[Words, Words]:
    """The change when every matrix takes its step: the part linear in the steps, and the rest."""
    marks = {u: sp.MatrixSymbol(f"step_{u}", *u.shape) for u in steps}
    moved = polynomial.substituted({u: words(u) + words(marks[u]) for u in steps}) - polynomial
    back = {marks[u]: step for u, step in steps.items()}
    split: tuple[dict, dict] = ({}, {})
    for word, value in moved.terms.items():
        split[0 if sum(m in back for m, _ in word) == 1 else 1][word] = value
    linear, rest = (Words(part, polynomial.shape).substituted(back) for part in split)
    return linear, rest


def _matrix_invariants(system, degree: int) -> tuple[Any, ...]:
    rates = {u: words(e).expanded() for u, e in zip(system.unknowns, system.equations, strict=True)}
    groups: dict[tuple, list[Words]] = {}
    for candidate in _short_words(system.unknowns, degree):
        groups.setdefault(candidate.shape, []).append(candidate)
    found: list[tuple[int, Any]] = []
    for shape, candidates in groups.items():
        if shape[::-1] in list(groups)[: list(groups).index(shape)]:
            continue  # the transposes of a group already searched
        vectors = _null_vectors([dict(_moved(system, c, rates).terms) for c in candidates])
        span: list[dict] = []
        index = {next(iter(c.terms)): place for place, c in enumerate(candidates)}
        for vector in vectors:
            if _rank([*span, vector], len(candidates)) == len(span):
                continue
            span.append(vector)
            invariant = Words({}, shape)
            for place, value in vector.items():
                invariant = invariant + candidates[place].scaled(sp.EX.to_sympy(value))
            if shape[0] == shape[1]:
                turned = {index[word]: sp.EX(value) for word, value in invariant.transposed().terms.items()}
                if _rank([*span, turned], len(candidates)) > len(span):
                    span.append(turned)
            order = [system.unknowns.index(m) for m in invariant.letters()]
            found.append((max(order), invariant.matrix()))
    return tuple(invariant for _, invariant in sorted(found, key=lambda pair: pair[0]))


def _trace_invariants(system, matrices) -> tuple[Any, ...]:
    """Combinations of |W|^2 that are conserved and are not traces of the matrix invariants found."""
    rates = {u: words(e).expanded() for u, e in zip(system.unknowns, system.equations, strict=True)}
    norms = [words(u.T * u) for u in reversed(system.unknowns)]
    vectors = _null_vectors([cyclic([(sp.S.One, _moved(system, n, rates))]) for n in norms])
    index = {next(iter(cyclic([(sp.S.One, n)]))): place for place, n in enumerate(norms)}
    known = []
    for invariant in matrices:
        terms = cyclic([(sp.S.One, words(invariant))]) if invariant.shape[0] == invariant.shape[1] else {}
        if set(terms) <= set(index):
            known.append({index[word]: sp.EX(value) for word, value in terms.items()})
    fresh = []
    for vector in vectors:
        if _rank([*known, vector], len(norms)) > _rank(known, len(norms)):
            known.append(vector)
            fresh.append(_combined(vector, [sp.Trace(n.matrix()) for n in norms]))
    return tuple(fresh)


def _short_words(unknowns, degree: int) -> Iterator[Words]:
    """Every word of at most that many unknowns, later unknowns and transposes first."""
    turned = {u: (False,) if is_symmetric(u) else (True, False) for u in unknowns}  # P' is P, and P - P' no law
    letters: list[Letter] = [(u, t) for u in reversed(unknowns) for t in turned[u]]
    for length in range(1, degree + 1):
        for word in product(letters, repeat=length):
            shapes = [letter_shape(letter) for letter in word]
            if all(a[1] == b[0] for a, b in zip(shapes, shapes[1:], strict=False)):
                yield Words({word: sp.S.One}, (shapes[0][0], shapes[-1][1]))


def _moved(system, polynomial: Words, rates) -> Words:
    if isinstance(system, Flow):
        return polynomial.velocity(rates)
    return polynomial.substituted(rates) - polynomial


def cyclic(parts) -> dict[Word, Any]:
    """Traces of words collected up to rotation and transposition."""
    total: dict[Word, Any] = {}
    for coefficient, polynomial in parts:
        for word, value in polynomial.terms.items():
            turns = [w[k:] + w[:k] for w in (word, transpose_word(word)) for k in range(max(1, len(w)))]
            key = min(turns, key=lambda w: [(str(m), t) for m, t in w])
            total[key] = sp.expand(total.get(key, 0) + coefficient * value)
    return {word: value for word, value in total.items() if value != 0}


def _word_matrix(word: Word):
    shape = (letter_shape(word[0])[0], letter_shape(word[-1])[1])
    return Words({word: sp.S.One}, shape).matrix()


def _null_vectors(columns: list[dict]) -> list[dict[int, Any]]:
    """Combinations of the columns that vanish, each scaled to have no denominators and a first entry of one sign."""
    keys = list(dict.fromkeys(key for column in columns for key in column))
    rows = [[sp.EX.convert(column.get(key, 0)) for column in columns] for key in keys]
    if not rows:
        return [{place: sp.EX.one} for place in range(len(columns))]
    found = []
    for vector in DomainMatrix(rows, (len(rows), len(columns)), sp.EX).nullspace().to_list():
        entries = {place: sp.EX.to_sympy(value) for place, value in enumerate(vector) if value}
        first = entries[min(entries)]
        entries = {place: sp.cancel(value / first) for place, value in entries.items()}
        common = sp.lcm_list([sp.fraction(value)[1] for value in entries.values()])
        found.append({place: sp.EX.convert(sp.cancel(value * common)) for place, value in entries.items()})
    return found


def _rank(vectors: list[dict], width: int) -> int:
    if not vectors:
        return 0
    rows = [[sp.EX.convert(vector.get(place, 0)) for place in range(width)] for vector in vectors]
    return DomainMatrix(rows, (len(rows), width), sp.EX).rank()


def _combined(vector, elements):
    return sp.Add(*(sp.EX.to_sympy(value) * elements[place] for place, value in vector.items()))
