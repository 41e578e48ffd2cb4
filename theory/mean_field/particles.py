r"""Two-layer networks as interacting particles: mean-field training of any activation, by its distribution of neurons.

    f(x) = (1/gamma) integral of w phi(a.z(x)) d rho(a, w),      d(a, w)/dt = - gamma grad Psi(a, w; rho)

Psi is the first variation of the loss, the potential that a neuron with first weights a and last weights w feels in the
field of all others. N particles drawn from rho are a network of width N at the output scale 1/(gamma sqrt(N)) and the
learning rate eta gamma^2 N; as N -> oo they are the mean field. z (P, r) are inputs over sqrt(d), along any axes.

>>> print(potential("tanh").velocity)
(gamma*over(left*tanh(h))/samples, left*gamma*w*(1 - tanh(h)**2)/samples)
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

import sympy as sp

from ..architecture.activations import formula
from ..derivation.probe import gradient_residual
from ..errors import NoClosedForm
from ..symbols import LEARNING_RATE, dimensions, entry_derivative, modes, over, positive, scalars
from ..system import Flow, Map
from ..trail import Equations, Trail
from .deep_linear import RICHNESS

MEI = "Mei, Montanari & Nguyen 2018, arXiv:1804.06561"
ROTSKOFF = "Rotskoff & Vanden-Eijnden 2018, arXiv:1805.00915"
CHIZAT = "Chizat & Bach 2018, arXiv:1805.09545"


@dataclass(frozen=True)
class Potential:
    """The potential of a neuron as an expression of its field h on every sample, and its velocities (w', h-force).

    The force on h is that by one sample: a moves by force x z(sample), summed over samples.
    """

    energy: Any
    velocity: tuple[Any, Any]


def _law(activation: Any) -> sp.Lambda:
    law = formula(activation)
    if law is None:
        raise NoClosedForm(
            "an activation without a formula",
            where="mean-field particles",
            remedy="give a SymPy expression, or sample neurons numerically (solvers.mean_field)",
        )
    return law


@cache
def potential(activation: Any = "tanh") -> Potential:
    """Psi = d loss / d rho of the squared loss, and gradient flow in it, for one output.

    The loss is quadratic in rho through f: its first variation is the derivative by f times d f / d rho(a, w).

    >>> potential("relu").energy
    -w*over(left*Max(0, h))/(gamma*samples)
    """
    f, y, h, left = modes("f y h left", positive=None, real=True)
    w, samples = scalars("w"), positive("samples")
    loss = over((y - f) ** 2) / (2 * samples)
    slope = sp.expand(entry_derivative(loss, f)).subs(f, y - left)  # d loss / d f of one sample
    energy = over(sp.expand(slope) * w * _law(activation)(h) / RICHNESS)
    # the step size eta gamma^2 N meets a gradient of 1/N per particle
    velocity = (-(RICHNESS**2) * sp.diff(energy, w), -(RICHNESS**2) * entry_derivative(energy, h))
    return Potential(energy, velocity)


def _symbols():
    N, P, Q, r, o = dimensions("N P Q r o")
    A, w = sp.MatrixSymbol("A", N, r), sp.MatrixSymbol("w", N, o)
    z, y, z_test = sp.MatrixSymbol("z", P, r), sp.MatrixSymbol("y", P, o), sp.MatrixSymbol("z_test", Q, r)
    return A, w, z, y, z_test, positive("particles"), positive("samples")


@cache
def particle_flow(activation: Any = "tanh") -> Flow:
    """All particles at once: A (N, r) and w (N, o), with outputs "f" (P, o) on z and "f_test" (Q, o) on z_test.

    >>> [str(unknown) for unknown in particle_flow("tanh").unknowns], sorted(particle_flow("tanh").observables)
    (['A', 'w'], ['f', 'f_test'])
    """
    law, felt = _law(activation), potential(activation)
    A, w, z, y, z_test, particles, samples = _symbols()
    slope = sp.Lambda(law.signature, law.expr.diff(law.signature[0]))
    outputs = lambda where: (A * where.T).applyfunc(law).T * w / (RICHNESS * particles)  # noqa: E731
    left = y - outputs(z)
    loss = sp.Trace(left.T * left) / (2 * samples)
    signal = sp.hadamard_product(w * left.T, (A * z.T).applyfunc(slope))
    equations = (RICHNESS / samples * signal * z, RICHNESS / samples * (A * z.T).applyfunc(law) * left)
    gradients = tuple(-equation / (RICHNESS**2 * particles) for equation in equations)
    trail = (
        Trail()
        .then("potential of a neuron: first variation of the loss", felt.energy, reference=MEI)
        .then(
            "gradient flow of the distribution: every particle moves down its own potential",
            Equations(((sp.Symbol("dw/dt"), felt.velocity[0]), (sp.Symbol("force"), felt.velocity[1]))),
            assumption="infinite width",
            reference=ROTSKOFF,
        )
        .then(
            "N particles, a' = sum over samples of force x z, outputs by the particles themselves",
            Equations(((A, equations[0]), (w, equations[1])), "flow"),
            reference=CHIZAT,
            check="-gamma^2 N times the gradient of the loss of a network of width N, by numerical derivative",
            residual=gradient_residual(loss, (A, w), gradients),
        )
    )
    return Flow((A, w), equations, observables={"f": outputs(z), "f_test": outputs(z_test)}, trail=trail)


@cache
def particle_map(activation: Any = "tanh") -> Map:
    """Gradient descent of the particles with step eta: the same at a finite learning rate.

    >>> print(particle_map("square").observables["f"])
    (1/(gamma*particles))*Lambda(z, z**2).(z*A.T)*w
    """
    flow = particle_flow(activation)
    pairs = zip(flow.unknowns, flow.equations, strict=True)
    equations = tuple(unknown + LEARNING_RATE * velocity for unknown, velocity in pairs)
    made = Equations(tuple(zip(flow.unknowns, equations, strict=True)), "map")
    return Map(flow.unknowns, equations, flow.observables, trail=flow.trail.then("one step of size eta", made))
