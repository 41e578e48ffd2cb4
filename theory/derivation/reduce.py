"""Fewer variables: restrict to an invariant set, project onto macroscopic variables, change variables.

The equation to remember is tangency. An ansatz old = f(new) is preserved by the flow old' = F(old) only if

    F(f(new)) = (df/dnew) new'      for some new',

and a projection new = g(old) closes only if (dg/dold) F(old) is a function of g(old). Both are derived and verified
here; what fails raises `AssumptionViolated` or `NoClosedForm` with the term that is left over.

>>> from .derive import network_map
>>> from ..architecture.network import chain
>>> from ..symbols import matrices
>>> gd = network_map(chain("input", "width", "output"))
>>> W1, W2 = gd.unknowns
>>> gram = project(gd, {"P": W1.T * W1, "R": W2 * W1, "T": W2 * W2.T})   # exact at any width, for any data
>>> [str(unknown.shape) for unknown in gram.unknowns]
['(input, input)', '(output, input)', '(output, output)']
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import sympy as sp

from ..errors import AssumptionViolated, NoClosedForm
from ..system import FixedPoint, Flow
from ..trail import Equations
from .derive import tidy
from .words_closure import project_matrices, restrict_matrices


def restrict(system, ansatz: Mapping[Any, Any], assumption: str = "ansatz", reference: str = ""):
    """The system on the set old = expression of new: tangency is verified, the old unknowns stay in `eliminated`.

    Free symbols of the expressions that the system does not know become unknowns. A parameter may be restricted too
    (it does not move, so nothing has to be verified). Raises `AssumptionViolated` with the residual.

    >>> from .derive import gradient_flow
    >>> a, b, s, u = sp.symbols("a b s u", real=True)
    >>> flow = gradient_flow((s - a * b) ** 2 / 2, on=(a, b))
    >>> print(restrict(flow, {a: u, b: u}).equations[0])
    u*(s - u**2)
    >>> restrict(flow, {a: u, b: 2 * u})
    Traceback (most recent call last):
    ...
    learning_mechanics.theory.errors.AssumptionViolated: ansatz: b' leaves b = 2*u at the rate -3*u*(s - 2*u**2); the \
dynamics does not preserve the ansatz, so integrate the full system
    """
    _decline_fixed_point(system, "restrict")
    if any(isinstance(symbol, sp.MatrixSymbol) for symbol in (*system.unknowns, *ansatz)):
        return _finish(system, *restrict_matrices(system, ansatz, assumption), ansatz, assumption, reference)
    kept = [unknown for unknown in system.unknowns if unknown not in ansatz]
    known = {*system.unknowns, *system.parameters}
    free = set().union(*(sp.sympify(e).free_symbols for e in ansatz.values()))
    fresh = sorted(free - known, key=str)
    moved = [unknown for unknown in system.unknowns if unknown in ansatz]
    field = {u: e.subs(ansatz) for u, e in zip(system.unknowns, system.equations, strict=True)}

    shape = [sp.sympify(ansatz[u]) for u in moved]
    solver = _rates if isinstance(system, Flow) else _successors
    solution = solver(shape, [field[u] for u in moved], fresh, {u: field[u] for u in kept})
    for unknown, expected, value in zip(moved, shape, (field[u] for u in moved), strict=True):
        if isinstance(system, Flow):
            derivative = sum(expected.diff(x) * rate for x, rate in {**solution, **{u: field[u] for u in kept}}.items())
            residual = vanishing(value - derivative)
        else:
            residual = vanishing(value - expected.subs({**solution, **{u: field[u] for u in kept}}, simultaneous=True))
        if residual != 0:
            raise AssumptionViolated(
                f"{system._left(unknown)} leaves {unknown} = {expected} at the rate {residual}",
                where=assumption,
                remedy="the dynamics does not preserve the ansatz, so integrate the full system",
            )
    unknowns = (*fresh, *kept)
    equations = tuple(tidy({**field, **solution}[u]) for u in unknowns)
    return _finish(system, unknowns, equations, "tangent: residual 0", ansatz, assumption, reference)


def project(system, onto: Mapping[Any, Any], assumption: str = "", reference: str = ""):
    """The closed dynamics of macroscopic variables, new = expression of the old unknowns (scalars or matrix words).

    Matrix variables may be given by name; they are symmetric if their expression is. Works for flows and, exactly
    (all orders in the learning rate), for maps. Raises `NoClosedForm` naming the term left over if it does not close.

    >>> from .derive import gradient_flow
    >>> a, b, s, z, n = sp.symbols("a b s z n", real=True)
    >>> flow = gradient_flow((s - a * b) ** 2 / 2, on=(a, b))
    >>> print(project(flow, {z: a * b, n: a**2 + b**2}).equations)
    (n*(s - z), 4*z*(s - z))
    >>> project(flow, {z: a * b})
    Traceback (most recent call last):
    ...
    learning_mechanics.theory.errors.NoClosedForm: project: z' = (a**2 + b**2)*(s - z) still holds a, b; add a \
variable for what is left over
    """
    _decline_fixed_point(system, "project")
    if any(isinstance(unknown, sp.MatrixSymbol) for unknown in system.unknowns):
        unknowns, equations, observables, definitions, residual = project_matrices(system, onto)
        made = type(system)(unknowns, equations, observables, system.eliminated, system.trail)
        gone = "; ".join(f"{new} = {old}" for new, old in definitions.items())
        return _note(
            made, f"project onto {gone}", assumption, reference, f"random point: {residual:.1e}", definitions, residual
        )
    old, new = system.unknowns, tuple(onto)
    field = dict(zip(old, system.equations, strict=True))
    relations = [sp.sympify(e) - symbol for symbol, e in onto.items()]
    if not all(r.is_polynomial(*old) for r in relations):
        raise NoClosedForm("the variables are not polynomial", where="project", remedy="use change_variables")
    parameters = [p for p in system.parameters if p not in new]
    domain = sp.QQ.frac_field(*parameters) if parameters else sp.QQ
    basis = sp.groebner(relations, *old, *new, order="lex", domain=domain)

    def close(label, expression):
        if not expression.is_polynomial(*old):
            raise NoClosedForm(f"{label} = {expression} is not polynomial", where="project")
        rest = basis.reduce(sp.expand(expression))[1]
        left = sorted(rest.free_symbols & set(old), key=str)
        if left:
            raise NoClosedForm(
                f"{label} = {tidy(sp.factor(rest))} still holds {', '.join(map(str, left))}",
                where="project",
                remedy="add a variable for what is left over",
            )
        return tidy(rest)

    closed: list[Any] = []
    for symbol, expression in onto.items():
        if isinstance(system, Flow):
            moved = sum(sp.diff(expression, u) * f for u, f in field.items())
        else:
            moved = sp.sympify(expression).subs(field, simultaneous=True)
        closed.append(close(system._left(symbol), moved))
    observables = {}
    for name, expression in system.observables.items():
        try:
            observables[name] = close(name, expression)
        except NoClosedForm:
            continue  # an observable that needs the old variables is dropped; the old system still has it
    made = type(system)(new, tuple(closed), observables, system.eliminated, system.trail)
    gone = "; ".join(f"{symbol} = {expression}" for symbol, expression in onto.items())
    return _note(made, f"project onto {gone}", assumption, reference, "closed: Groebner remainder 0", onto, 0.0)


def change_variables(system, new: Mapping[Any, Any], reference: str = ""):
    """One new variable for each old one, new = invertible expression of it; a name makes a symbol of the same kind.

    >>> from ..symbols import positive
    >>> u, s, L = positive("u s L")
    >>> flow = change_variables(Flow((u,), (u ** (L - 1) * (s - u**L),)), {"a": u**L})
    >>> print(flow.equations[0])
    L*a**(2 - 2/L)*(-a + s)
    """
    _decline_fixed_point(system, "change_variables")
    inverse, forward = {}, {}
    for key, expression in new.items():
        held = [u for u in system.unknowns if u in sp.sympify(expression).free_symbols]
        if len(held) != 1 or held[0] in inverse:
            raise NoClosedForm(f"{key} = {expression} holds {held or 'no unknown'}", where="change_variables")
        symbol = type(held[0])(key, **held[0]._assumptions_orig) if isinstance(key, str) else key
        inverse[held[0]], forward[held[0]] = _inverted(symbol, sp.sympify(expression), held[0]), (symbol, expression)
    unknowns, equations = [], []
    for unknown, equation in zip(system.unknowns, system.equations, strict=True):
        symbol, expression = forward.get(unknown, (unknown, unknown))
        if isinstance(system, Flow):
            moved = sp.powsimp(sp.powsimp(sp.factor_terms(sp.diff(expression, unknown))) * equation)
        else:
            moved = sp.sympify(expression).subs(unknown, equation)
        unknowns.append(symbol)
        equations.append(_powers(moved.subs(inverse)))
    label = "; ".join(f"{symbol} = {expression}" for symbol, expression in forward.values())
    made = _finish(
        system, tuple(unknowns), tuple(equations), "invertible", inverse, "", reference, f"change to {label}"
    )
    return replace(made, observables={name: _powers(e) for name, e in made.observables.items()})


def vanishing(expression: Any) -> Any:
    """The expression simplified until it is visibly zero, or a short form of what remains."""
    expression = sp.expand(expression)
    if expression == 0:
        return expression
    expression = sp.factor(sp.powsimp(sp.expand_power_base(expression)))
    return expression if expression == 0 or len(expression.free_symbols) > 12 else sp.factor(sp.simplify(expression))


def _rates(shape, field, fresh, kept) -> dict:
    """New rates from enough of the equations (df/dnew) new' = F - (df/dkept) kept'."""
    jacobian = sp.Matrix([[e.diff(x) for x in fresh] for e in shape])
    known = [f - sum(e.diff(x) * rate for x, rate in kept.items()) for e, f in zip(shape, field, strict=True)]
    rows = _independent(jacobian, fresh)
    solved = (
        jacobian.extract(rows, list(range(len(fresh)))).LUsolve(sp.Matrix([known[r] for r in rows])) if rows else []
    )
    return {x: sp.powsimp(sp.simplify(value)) for x, value in zip(fresh, solved, strict=True)}


def _successors(shape, field, fresh, kept) -> dict:
    jacobian = sp.Matrix([[e.diff(x) for x in fresh] for e in shape])
    rows = _independent(jacobian, fresh)
    direct = {shape[r]: field[r] for r in rows if shape[r] in fresh}
    if len(direct) == len(fresh):
        return direct
    after = {x: sp.Dummy(str(x), **x._assumptions_orig) for x in fresh}
    equations = [shape[r].subs(after).subs(kept) - field[r] for r in rows]
    found = sp.solve(equations, list(after.values()), dict=True)
    if len(found) != 1:
        raise NoClosedForm(f"{len(found)} next values fit the ansatz", where="restrict", remedy="name the branch")
    return {x: found[0][after[x]] for x in fresh}


def _independent(jacobian, fresh) -> list[int]:
    if not fresh:
        return []
    rows = list(jacobian.T.rref()[1])
    if len(rows) < len(fresh):
        raise AssumptionViolated(f"the ansatz does not determine {', '.join(map(str, fresh))}", where="restrict")
    return rows


def _inverted(symbol, expression, unknown):
    base, exponent = expression.as_base_exp()
    if base == unknown and not exponent.has(unknown):
        return symbol ** (1 / exponent)
    found = [root for root in sp.solve(expression - symbol, unknown) if root.is_real is not False]
    if len(found) != 1:
        raise NoClosedForm(f"{symbol} = {expression} has {len(found)} inverses", where="change_variables")
    return found[0]


def _powers(expression):
    """Powers of one base collected, exponents in lowest terms."""
    merged = sp.powsimp(sp.powdenest(expression, force=True))
    merged = merged.replace(lambda e: e.is_Pow and not e.exp.is_number, lambda e: e.base ** sp.expand(sp.cancel(e.exp)))
    return tidy(merged)


def _finish(system, unknowns, equations, check, images, assumption, reference, rule="restrict"):
    observables = {name: _substituted(e, images) for name, e in system.observables.items()}
    eliminated = {old: _substituted(e, images) for old, e in system.eliminated.items()} | dict(images)
    made = type(system)(unknowns, equations, observables, eliminated, system.trail)
    residual = 0.0 if check.endswith("residual 0") else None
    return _note(made, rule, assumption, reference, check, images, residual)


def _substituted(expression, images):
    expression = sp.sympify(expression)
    if expression.has(sp.MatrixExpr):
        return expression.subs(images).doit()
    return expression.xreplace(dict(images))  # keeps mode symbols inside `over` at every moment


def _note(system, rule, assumption, reference, check, given, residual=None):
    trail = system.trail.then(
        rule,
        system.statement(),
        assumption=assumption,
        reference=reference,
        check=check,
        residual=residual,
        given=Equations(tuple((old, sp.sympify(new)) for old, new in given.items())),
    )
    return replace(system, trail=trail)


def _decline_fixed_point(system, verb):
    if isinstance(system, FixedPoint):
        raise NoClosedForm(f"{verb} needs a flow or a map, not a fixed point", where=verb)
