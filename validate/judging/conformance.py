"""Every check that every model must pass; `tests/test_models.py` runs all of them over all models.

A check is a function of a `Theory` that raises AssertionError with a reason. A new model file is covered without a
line of test code.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import sympy as sp

from ...solvers.compile import compile
from ...solvers.ode import integrate
from ...solvers.predict import derived
from ...theory.claims import Claim, Law
from ...theory.closed_forms.closed_form import closed_form
from ...theory.errors import NoClosedForm
from ...theory.model import Theory
from ...theory.symbols import ModeSymbol
from ...theory.system import FixedPoint, Flow, Map, System
from ..experiments.experiment import run
from .check import draw

CHECKS: list[Callable[[Theory], None]] = []


def conformance(check):
    """Register a check over all models."""
    CHECKS.append(check)
    return check


@conformance
def constructs_and_hashes(theory: Theory):
    """A model is a frozen record of hyperparameters with a one-line title and documented fields."""
    same = type(theory)()
    assert same == type(theory)() and hash(same) == hash(type(theory)())
    assert theory.title(), "the class needs a docstring"
    for name, field in type(theory).__dataclass_fields__.items():
        assert field.metadata.get("doc"), f"parameter {name} has no documentation"


@conformance
def derives_with_a_trail(theory: Theory):
    """`derive()` gives a system whose trail cites at least one reference and whose steps are connected."""
    system = theory.derive()
    assert isinstance(system, System)
    assert system.trail.steps and system.trail.references, "the derivation cites nothing"
    graph = system.trail.graph()
    assert all(parent < child for parent, child in graph.edges)


@conformance
def latex_renders(theory: Theory):
    """Every law's equations and observables have LaTeX with balanced braces, and presentation MathML."""
    for law in laws(theory):
        system = derived(law)
        for text in (sp.latex(system), *(sp.latex(value) for value in system.observables.values())):
            assert text and text.count("{") == text.count("}"), text
        for equation in system.equations:
            assert sp.mathml(equation, printer="presentation").startswith("<")


@conformance
def claims_can_fail(theory: Theory):
    """There is a claim; each has a rival other than its law, a statement, a budget or order, and a time share."""
    claims = theory.claims()
    assert claims, "a model without a claim cannot be refuted"
    assert len({claim.name for claim in claims}) == len(claims)
    for claim in claims:
        assert claim.rival.name != claim.law.name and claim.rival_home, claim.name
        assert claim.statement and claim.seconds > 0
        budget = getattr(claim, "budget", None)
        assert budget is None or (budget and all(value > 0 for value in budget.values())), claim.name


@conformance
def assumptions_are_documented(theory: Theory):
    """Every assumption of every law states itself, cites a reference, and reports a finite distance."""
    for claim in theory.claims():
        instances = draw(shrunk(claim), None, 0)
        for law in (claim.law, claim.rival):
            for assumption in law.assumptions:
                assert assumption.statement and assumption.reference, assumption
                drawn = instances[0][0]
                arrays = {**drawn.arrays, **drawn.moments(), **law.bind(drawn)}
                assert np.isfinite(assumption.distance(arrays)) and assumption.radius > 0


@conformance
def closed_forms_solve_their_equations(theory: Theory):
    """A closed form equals the integrated equation (1e-9 of the final value) and stays finite at t = 1e6."""
    for law in laws(theory):
        system = derived(law)
        if not isinstance(system, Flow) or any(hasattr(unknown, "shape") for unknown in system.unknowns):
            continue
        try:
            solution = closed_form(system)
        except NoClosedForm:
            continue
        rng = np.random.default_rng(0)
        values: dict[str, Any] = {str(parameter): rng.uniform(0.3, 1.2, 5) for parameter in system.parameters}
        values |= {"eta": 0.01} if "eta" in values else {}
        values |= {str(unknown): rng.uniform(0.001, 0.1, 5) for unknown in system.unknowns}
        times = np.linspace(0, 30, 40)
        numeric = integrate(system, values, times, tolerance=1e-12)
        for name, exact in solution.unknowns_at(times, **values).items():
            assert np.abs(exact - numeric[name]).max() < 1e-9 * np.abs(numeric[name][-1]).max(), law.name
            assert np.allclose(exact[0], values[name], rtol=1e-12)
        for late in solution.unknowns_at(np.array([0.0, 1e6]), **values).values():
            assert np.isfinite(late).all()


@conformance
def systems_are_differentiable(theory: Theory):
    """Equations compile for JAX; jit, vmap and grad go through with respect to every scalar parameter."""
    import jax
    import jax.numpy as jnp

    for law in laws(theory):
        system = derived(law)
        arguments = (*system.unknowns, *system.parameters)
        if any(isinstance(argument, sp.MatrixSymbol) for argument in arguments):
            compile(system.equations, arguments)
            continue
        function = compile(system.equations, arguments)
        values = [jnp.full(4, 0.5) if isinstance(a, ModeSymbol) else jnp.asarray(0.5) for a in arguments]

        def total(*values, function=function):
            return sum(jnp.sum(result) for result in function(*values))

        assert jnp.isfinite(jax.jit(total)(*values))
        gradients = jax.grad(total, argnums=tuple(range(len(values))))(*values)
        assert all(bool(jnp.isfinite(gradient).all()) for gradient in gradients), law.name
        batched = jax.vmap(lambda *values: total(*values))(*(jnp.stack([value, value]) for value in values))
        assert batched.shape == (2,)


@conformance
def experiments_never_see_the_theory(theory: Theory):
    """With every derived system replaced by garbage, measurements are bitwise the same."""
    for claim in theory.claims():
        if claim.options.get("slow_setup"):
            continue
        small = shrunk(claim)
        first = run(small.observable, draw(small, None, 0), range(small.seeds))
        garbled = replace(small, law=garbage(small.law), rival=garbage(small.rival))
        second = run(garbled.observable, draw(garbled, None, 0), range(garbled.seeds))
        assert np.array_equal(first.values, second.values, equal_nan=True), claim.name


def laws(theory: Theory) -> list[Law]:
    """All laws of a model, rivals included, each system once."""
    found: dict[tuple[str, Callable], Law] = {}
    for claim in theory.claims():
        for law in (claim.law, claim.rival, *filter(None, [claim.options.get("partner")])):
            found.setdefault((law.name, law.system), law)
    return list(found.values())


def shrunk(claim: Claim) -> Claim:
    """The same claim on an experiment of a second: few steps, one or two replicates, two sample sizes."""
    setup = claim.setup
    rate = max(setup.optimizer.learning_rate, 1e-12)
    setup = replace(
        setup,
        steps=min(setup.total_steps(rate), 12) if setup.procedure != "kernel_solve" else setup.steps,
        time=0.0,
        records=min(setup.records, 4),
        sizes=setup.sizes[:2],
    )
    return replace(claim, setup=setup, values=claim.values[:1], seeds=min(claim.seeds, 2))


def garbage(law: Law) -> Law:
    """The law with every equation replaced by an unrelated one."""

    def system():
        original = derived(law)
        wrong = tuple(
            sp.ZeroMatrix(*unknown.shape) if hasattr(unknown, "shape") else sp.Integer(7)
            for unknown in original.unknowns
        )
        kind = type(original)
        assert kind in (Flow, Map, FixedPoint)
        return replace(original, equations=wrong)

    return replace(law, system=system)
