"""The letters of papers, converted by name into source and capacity and back.

Here: lambda_k ~ k^-capacity and lambda_k w_k^2 ~ k^-target_exponent. The same letter means different things elsewhere:
alpha is the capacity in three of these papers, half of it in one, and the capacity minus one in another.

>>> source_capacity("paquette", alpha=1, beta="3/4")
(2, 7/2)
>>> letters("cui", 2, "7/2")
{'alpha': 2, 'r': 5/8}
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import sympy as sp

from ..errors import BadData, UnknownName
from .exact_signs import exact, tidy

_a, _b, _alpha, _beta, _r, _alpha_K = sp.symbols("a b alpha beta r alpha_K", real=True)


@dataclass(frozen=True)
class Convention:
    """How a paper writes a power-law problem: its letters, and capacity and target exponent in them.

    `meaning` says what the letters stand for there.
    """

    reference: str
    meaning: str
    capacity: Any
    target_exponent: Any

    @property
    def letters(self) -> tuple[str, ...]:
        free = sp.sympify(self.capacity).free_symbols | sp.sympify(self.target_exponent).free_symbols
        return tuple(sorted(map(str, free)))


CONVENTIONS: Mapping[str, Convention] = MappingProxyType(
    {
        "dynamical": Convention(
            "Bordelon, Atanasov & Pehlevan 2024, arXiv:2402.01092",
            "lambda_k ~ k^-b, lambda_k w_k^2 ~ k^-a",
            _b,
            _a,
        ),
        "paquette": Convention(
            "Paquette, Paquette, Xiao, Pennington 2024, arXiv:2405.15074",
            "features j^-alpha z_j (eigenvalues j^-2 alpha), target weights j^-beta",
            2 * _alpha,
            2 * _alpha + 2 * _beta,
        ),
        "feature_learning": Convention(
            "Bordelon, Atanasov & Pehlevan 2024, arXiv:2409.17858",
            "lambda_k ~ k^-alpha, sum_{l > k} lambda_l w_l^2 ~ lambda_k^beta",
            _alpha,
            1 + _alpha * _beta,
        ),
        "cui": Convention(
            "Cui, Loureiro, Krzakala & Zdeborova 2021, arXiv:2105.15004",
            "lambda_k ~ k^-alpha, |Sigma^(1/2 - r) theta| finite up to logarithms",
            _alpha,
            1 + 2 * _r * _alpha,
        ),
        "bahri": Convention(
            "Bahri, Dyer, Kaplan, Lee & Sharma 2021, arXiv:2102.06701",
            "lambda_k ~ k^-(1 + alpha_K), targets with the same power",
            1 + _alpha_K,
            1 + _alpha_K,
        ),
    }
)


def source_capacity(convention: str, **letters: Any) -> tuple[Any, Any]:
    """(capacity, target_exponent) from a paper's letters: `source_capacity("paquette", alpha=1, beta=2)`.

    Errors: `UnknownName` for another convention, `BadData` for letters it does not have or that are missing.

    >>> source_capacity("feature_learning", alpha=2, beta="1/2")
    (2, 2)
    """
    stated = _convention(convention)
    if set(letters) != set(stated.letters):
        raise BadData(
            f"letters {', '.join(sorted(letters)) or 'none'}",
            where=f"convention {convention}",
            remedy=f"give {' and '.join(stated.letters)}: {stated.meaning}",
        )
    values = {sp.Symbol(name, real=True): exact(value, f"convention {convention}") for name, value in letters.items()}
    return tidy(stated.capacity.subs(values)), tidy(stated.target_exponent.subs(values))


def letters(convention: str, capacity: Any, target_exponent: Any) -> dict[str, Any]:
    """A paper's letters from capacity and target exponent.

    Errors: `UnknownName`; `BadData` where the paper's problem has no such pair.

    >>> letters("bahri", "3/2", "3/2")
    {'alpha_K': 1/2}
    """
    stated = _convention(convention)
    capacity, target_exponent = (exact(v, f"convention {convention}") for v in (capacity, target_exponent))
    unknown = [sp.Symbol(name, real=True) for name in stated.letters]
    equations = [stated.capacity - capacity, stated.target_exponent - target_exponent]
    found = sp.solve(equations, unknown, dict=True)
    if len(found) != 1 or set(found[0]) != set(unknown):
        raise BadData(
            f"no letters give capacity {capacity}, target exponent {target_exponent}",
            where=f"convention {convention}",
            remedy=f"it means {stated.meaning}",
        )
    return {str(symbol): tidy(found[0][symbol]) for symbol in unknown}


def _convention(name: str) -> Convention:
    if not isinstance(name, str) or name not in CONVENTIONS:
        raise UnknownName.among(name, CONVENTIONS, kind="convention")
    return CONVENTIONS[name]
