"""Words: polynomials in matrices, whose letters do not commute.

A word is a product of letters, a letter a matrix or its transpose. The one rule to remember is the product rule: every
occurrence of a matrix in a word contributes what stands left of it, its change, and what stands right of it,

    d(A W B W' C) = A dW B W' C + A W B dW' C.

A sum standing inside a product is kept as a single letter (an error factor stays readable) until `expanded`.

>>> from ..symbols import matrices
>>> A, B, C = matrices(A=("n", "n"), B=("n", "n"), C=("n", "n"))
>>> print(words(A * (B - C)).matrix(), "=", words(A * (B - C)).expanded().matrix())
A*(B - C) = A*(B - C)
>>> len(words(A * (B - C)).terms), len(words(A * (B - C)).expanded().terms)
(1, 2)
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import sympy as sp

from ..symbols import dimensions

Letter = tuple[Any, bool]  # the matrix, and whether it is transposed
Word = tuple[Letter, ...]


class SymmetricMatrix(sp.MatrixSymbol):
    """A matrix symbol that equals its transpose, such as a covariance."""

    def _eval_transpose(self):
        return self


class Polar(sp.MatrixExpr):
    """The polar factor U V' of a matrix U diag(s) V', with s > 0: every singular value replaced by one.

    >>> from ..symbols import matrices
    >>> print(Polar(matrices(W=("n", "m"))), sp.latex(Polar(matrices(W=("n", "m")))))
    Polar(W) \\operatorname{polar}\\left(W\\right)
    """

    @property
    def arg(self):
        return self.args[0]

    @property
    def shape(self):
        return self.args[0].shape

    def _latex(self, printer, exp=None):
        return rf"\operatorname{{polar}}\left({printer._print(self.arg)}\right)"


def symmetric(name: str, size) -> SymmetricMatrix:
    """A symmetric matrix symbol of that size: `symmetric("Sigma_xx", "input")`.

    >>> S = symmetric("S", "n")
    >>> S.T is S
    True
    """
    size = dimensions(size) if isinstance(size, str) else sp.sympify(size)
    return SymmetricMatrix(name, size, size)


@dataclass(frozen=True)
class Words:
    """A sum of words with scalar coefficients, all of one shape.

    >>> from ..symbols import matrices
    >>> W1, W2 = matrices(W1=("h", "d"), W2=("o", "h"))
    >>> P = words(W1.T * W1)
    >>> P.transposed() == P, (words(W2) * words(W1) - words(W2 * W1)).is_zero
    (True, True)
    """

    terms: Mapping[Word, Any]
    shape: tuple[Any, Any]

    @classmethod
    def of(cls, pairs: Iterable[tuple[Word, Any]], shape) -> "Words":
        """The sum of (word, coefficient) pairs."""
        return _collect(pairs, shape)

    @property
    def is_zero(self) -> bool:
        """No word is left."""
        return not self.terms

    def __add__(self, other: "Words") -> "Words":
        return _collect([*self.terms.items(), *other.terms.items()], self.shape)

    def __sub__(self, other: "Words") -> "Words":
        return self + other.scaled(-1)

    def __mul__(self, other: "Words") -> "Words":
        pairs = [(v + w, a * b) for v, a in self.terms.items() for w, b in other.terms.items()]
        return _collect(pairs, (self.shape[0], other.shape[1]))

    def scaled(self, factor) -> "Words":
        """Every coefficient multiplied by a scalar."""
        return _collect([(word, factor * value) for word, value in self.terms.items()], self.shape)

    def transposed(self) -> "Words":
        """The transpose, word by word."""
        flipped = [(transpose_word(word), value) for word, value in self.terms.items()]
        return _collect(flipped, (self.shape[1], self.shape[0]))

    def expanded(self) -> "Words":
        """Sums inside products multiplied out."""
        return self.map(lambda letter: words(letter[0]).expanded() if _is_composite(letter[0]) else None)

    def map(self, image: Callable[[Letter], "Words | None"]) -> "Words":
        """Every letter replaced by its image (given untransposed; None keeps the letter)."""
        pairs: list = []
        for word, value in self.terms.items():
            partial: list = [((), value)]
            for letter in word:
                new = image((letter[0], False))
                if new is None:
                    partial = [(w + (letter,), v) for w, v in partial]
                    continue
                new = new.transposed() if letter[1] else new
                partial = [(w + tail, v * c) for w, v in partial for tail, c in new.terms.items()]
            pairs += partial
        return _collect(pairs, self.shape)

    def substituted(self, images: Mapping[Any, "Words"]) -> "Words":
        """Matrices replaced by polynomials; call on an expanded polynomial if sums inside hold them."""
        return self.map(lambda letter: images.get(letter[0]))

    def velocity(self, changes: Mapping[Any, "Words"]) -> "Words":
        """The product rule: the derivative of the polynomial when each matrix changes at the given rate."""
        total = Words({}, self.shape)
        for word, value in self.terms.items():
            for place, (matrix, transposed) in enumerate(word):
                if matrix in changes:
                    change = changes[matrix].transposed() if transposed else changes[matrix]
                    pairs = [(word[:place] + w + word[place + 1 :], value * c) for w, c in change.terms.items()]
                    total = total + _collect(pairs, self.shape)
        return total

    def letters(self) -> set:
        """Matrices that occur."""
        return {matrix for word in self.terms for matrix, _ in word}

    def matrix(self) -> Any:
        """As a SymPy matrix expression, with a common left and right factor taken out."""
        if not self.terms:
            return sp.ZeroMatrix(*self.shape)
        every = list(self.terms)
        if len(every) == 1:
            return _product(every[0], self.terms[every[0]], self.shape)
        shortest = min(map(len, every)) - 1  # no word is used up, so no identity of symbolic size appears
        left = _common(every, shortest)
        right = _common([word[::-1] for word in every], shortest - left)
        if not left and not right:
            return sp.MatAdd(*(_product(word, value, self.shape) for word, value in self.terms.items()))
        before, after = every[0][:left], every[0][len(every[0]) - right :]
        rows = letter_shape(before[-1])[1] if left else self.shape[0]
        columns = letter_shape(after[0])[0] if right else self.shape[1]
        inner = Words({w[left : len(w) - right]: v for w, v in self.terms.items()}, (rows, columns))
        return sp.MatMul(*map(_factor, before), inner.matrix(), *map(_factor, after))


def words(expression) -> Words:
    """Read a SymPy matrix expression; sums inside products stay single letters until `expanded`.

    >>> from ..symbols import matrices
    >>> W = matrices(W=("n", "n"))
    >>> print(words(W**2 * W.T).matrix())
    W*W*W.T
    """
    if isinstance(expression, sp.MatAdd):
        total = words(expression.args[0])
        for term in expression.args[1:]:
            total = total + words(term)
        return total
    shape = expression.shape
    if isinstance(expression, sp.ZeroMatrix):
        return Words({}, shape)
    if isinstance(expression, sp.Identity):
        return Words({(): sp.S.One}, shape)
    if isinstance(expression, sp.Transpose):
        return _factor_words(expression.arg).transposed()
    if isinstance(expression, sp.MatPow) and expression.exp.is_Integer and expression.exp > 0:
        return _chain([_factor_words(expression.base)] * int(expression.exp))
    if isinstance(expression, sp.MatMul):
        scalar, factors = expression.as_coeff_matrices()
        return _chain([_factor_words(factor) for factor in factors]).scaled(scalar)
    return Words({((expression, False),): sp.S.One}, shape)


def occurrences(word: Word, matrix) -> Iterator[tuple[Word, bool, Word]]:
    """Every place of a matrix in a word: what stands left, whether it is transposed there, what stands right."""
    for place, (found, transposed) in enumerate(word):
        if found == matrix:
            yield word[:place], transposed, word[place + 1 :]


def transpose_word(word: Word) -> Word:
    """The letters in reverse order, each transposed."""
    return tuple((m, False if is_symmetric(m) else not transposed) for m, transposed in reversed(word))


def trace_terms(expression) -> tuple[Any, list[tuple[Any, Words]]]:
    """A scalar expression as a part without traces, and a list of (coefficient, words under the trace).

    Linear in traces only; raises ValueError otherwise.
    """
    rest, found = sp.S.Zero, []
    for term in sp.Add.make_args(sp.expand(expression)):
        traces = term.atoms(sp.Trace)
        if not traces:
            rest += term
            continue
        trace = next(iter(traces))
        coefficient = term / trace
        if len(traces) > 1 or coefficient.atoms(sp.Trace):
            raise ValueError(f"{term} is not linear in traces")
        found.append((coefficient, words(trace.arg).expanded()))
    return rest, found


def letter_shape(letter: Letter) -> tuple[Any, Any]:
    """Rows and columns of a letter as it stands in a word."""
    rows, columns = letter[0].shape
    return (columns, rows) if letter[1] else (rows, columns)


def is_symmetric(matrix) -> bool:
    """Whether a matrix equals its transpose by its kind."""
    return isinstance(matrix, SymmetricMatrix | sp.DiagMatrix)


def _is_composite(matrix) -> bool:
    return isinstance(matrix, sp.MatAdd)


def _factor_words(expression) -> Words:
    if _is_composite(expression):
        return Words({((expression, False),): sp.S.One}, expression.shape)
    return words(expression)


def _chain(factors: list[Words]) -> Words:
    total = factors[0]
    for factor in factors[1:]:
        total = total * factor
    return total


def _collect(pairs, shape) -> Words:
    terms: dict[Word, Any] = {}
    for word, value in pairs:
        terms[word] = terms.get(word, sp.S.Zero) + value
    expanded = {word: sp.expand(value) for word, value in terms.items()}
    return Words({word: value for word, value in expanded.items() if value != 0}, shape)


def _common(every: list[Word], limit: int) -> int:
    count = 0
    while count < limit and len({word[count] for word in every}) == 1:
        count += 1
    return count


def _factor(letter: Letter):
    # a transposed sum stays one factor, (A - B).T, instead of being multiplied out
    return sp.Transpose(letter[0]) if letter[1] else letter[0]


def _product(word: Word, value, shape):
    if not word:
        return sp.MatMul(value, sp.Identity(shape[0])) if value != 1 else sp.Identity(shape[0])
    factors = [_factor(letter) for letter in word]
    if value == 1:
        return factors[0] if len(factors) == 1 else sp.MatMul(*factors)
    return sp.MatMul(value, *factors)
