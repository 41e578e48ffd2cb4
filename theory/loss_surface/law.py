"""Laws of the loss over model and data size, as expressions.

The one equation, with N parameters and D tokens, all constants positive:

    L(N, D) = E + A N^-alpha + B D^-beta.

E is the entropy of the data, the second term what a model of finite size misses, the third what finite data miss.
Kaplan's joint form [(N_c/N)^(alpha_N/alpha_D) + D_c/D]^alpha_D is the rival without a floor; both are members of

    L = E + [ (A N^-alpha)^(1/g) + (B D^-beta)^(1/g) ]^g,      g = 1: additive,   E = 0, g = alpha_D: Kaplan.

References: Hoffmann et al. 2022 (arXiv:2203.15556); Kaplan et al. 2020 (arXiv:2001.08361).
"""

import sympy as sp

from ..symbols import positive

N, D, C = positive("N D C")
L = sp.Symbol("L", positive=True)
E, A, B, ALPHA, BETA = positive("E A B alpha beta")
COUPLING = positive("g")
NAMES = ("E", "A", "B", "alpha", "beta")
CONSTANTS = (E, A, B, ALPHA, BETA)
HOFFMANN, KAPLAN = "Hoffmann et al. 2022 (arXiv:2203.15556)", "Kaplan et al. 2020 (arXiv:2001.08361)"


def loss() -> sp.Expr:
    """The additive law.

    >>> print(loss())
    A/N**alpha + B/D**beta + E
    """
    return E + A * N**-ALPHA + B * D**-BETA


def coupled() -> sp.Expr:
    """The law with one more exponent g, which couples N and D; g = 1 is the additive law.

    >>> sp.simplify(coupled().subs(COUPLING, 1) - loss())
    0
    """
    return E + ((A * N**-ALPHA) ** (1 / COUPLING) + (B * D**-BETA) ** (1 / COUPLING)) ** COUPLING


def kaplan() -> sp.Expr:
    """Kaplan's joint form [(N_c/N)^(alpha_N/alpha_D) + D_c/D]^alpha_D as a member of the coupled family.

    alpha_N = alpha, alpha_D = beta, A = N_c^alpha, B = D_c^beta, g = beta, E = 0.

    >>> nc, dc = positive("N_c D_c")
    >>> here = kaplan().subs({A: nc**ALPHA, B: dc**BETA})
    >>> there = ((nc / N) ** (ALPHA / BETA) + dc / D) ** BETA
    >>> values = {nc: 3, dc: 5, N: 7, D: 11, ALPHA: sp.Rational(1, 3), BETA: sp.Rational(1, 4)}
    >>> abs((here - there).subs(values).evalf()) < 1e-14
    True
    """
    return coupled().subs({E: 0, COUPLING: BETA})
