"""Second moments of SGD on the rows of a data set, exactly: the recursion through the data's own fourth moments.

A row drawn with replacement is a fresh sample of a discrete distribution, so no Gaussian assumption is needed. With
residuals R = X D - E of the weight error D = W - W*, the squared update needs only

    E g g' = X' diag(q) X / P,     q_i = E |R_i|^2 = x_i' M x_i - 2 E_i . (m' x_i) + |E_i|^2.
"""

import sympy as sp

from ..derivation.noncommutative import Words, symmetric, words
from ..errors import AssumptionViolated
from ..symbols import LEARNING_RATE, matrices, positive
from ..system import Map
from ..trail import Equations, Trail
from .moments import BATCH

ROWS = positive("P")


class RowProducts(sp.MatrixExpr):
    """Inner products of corresponding rows, diag(A B') as a column: A, B (n, k) -> (n, 1).

    >>> from ..symbols import matrices
    >>> A, B = matrices(A=("n", "k"), B=("n", "k"))
    >>> RowProducts(A, B).shape
    (n, 1)
    """

    def __new__(cls, left, right):
        return super().__new__(cls, left, right)

    @property
    def shape(self):
        return self.args[0].shape[0], sp.S.One

    def _latex(self, printer, exp=None):
        return rf"\operatorname{{diag}}\left({printer._print((self.args[0] * self.args[1].T).doit())}\right)"

    def _numpycode(self, printer, **_):
        left, right = map(printer._print, self.args)
        return f"(({left})*({right})).sum(axis=-1, keepdims=True)"

    _jaxcode = _numpycode


class RowScaled(sp.MatrixExpr):
    """Every row multiplied by its own factor, diag(q) A: q (n, 1), A (n, k) -> (n, k)."""

    def __new__(cls, factors, matrix):
        return super().__new__(cls, factors, matrix)

    @property
    def shape(self):
        return self.args[1].shape

    def _latex(self, printer, exp=None):
        factors, matrix = map(printer._print, self.args)
        return rf"\operatorname{{diag}}\left[{factors}\right] {matrix}"

    def _numpycode(self, printer, **_):
        factors, matrix = map(printer._print, self.args)
        return f"(({factors})*({matrix}))"

    _jaxcode = _numpycode


def row_second_moments() -> Map:
    """The exact recursion of SGD on rows drawn with replacement from any data set.

    With W* a least-squares solution, E = Y - X W* its residuals and D = W - W*: unknowns M = E D D' (d, d) and
    m = E D (d, o). Parameters: X (n, d), E (n, o), H = X'X / P (d, d), number of rows P, eta, batch size B.
    Observable "excess_risk" = 1/2 tr(H M), the full-batch loss 1/2 mean |y - W'x|^2 above its minimum.
    The normal equations X'E = 0 are used, so E must come from a least-squares solution.

    >>> [str(unknown) for unknown in row_second_moments().unknowns]
    ['M', 'm']
    """
    eta, batch, rows = LEARNING_RATE, BATCH, ROWS
    W, V, D, X, Y, E = matrices(W=("d", "o"), V=("d", "o"), D=("d", "o"), X=("n", "d"), Y=("n", "o"), E=("n", "o"))
    S, H, M = symmetric("S", "n"), symmetric("H", "d"), symmetric("M", "d")
    m = sp.MatrixSymbol("m", *D.shape)
    residual = X * W - Y
    gradient = words(sp.Trace(residual.T * S * residual).diff(W)).expanded().scaled(sp.Rational(1, 2))
    gradient = gradient.substituted({W: words(V + D), Y: words(X * V + E)}).expanded()
    error = words(X * D - E)  # R = X W - Y in terms of D
    if not (gradient - words(X.T * S) * error).is_zero:
        raise AssumptionViolated("the gradient of a sample is not X' S R", where="row_second_moments")

    def mean(polynomial: Words) -> Words:
        """Over the weights, and short: D D' -> M, D -> m, X'X -> P H, X'E -> 0."""
        pairs = [image for word, value in polynomial.terms.items() for image in _mean(word, value)]
        return sum((Words({w: v}, polynomial.shape) for w, v in pairs), Words({}, polynomial.shape))

    def _mean(word, value):
        word = _joined(word, (D, False), (D, True), (M, False))
        if sum(letter[0] == D for letter in word) > 1:
            raise AssumptionViolated("a moment beyond the second is needed", where="row_second_moments")
        word = tuple((m, flipped) if letter == D else (letter, flipped) for letter, flipped in word)
        short = _joined(word, (X, True), (X, False), (H, False))
        if _joined(short, (X, True), (E, False), None) is None or _joined(short, (E, True), (X, False), None) is None:
            return []
        return [(short, value * rows ** (len(word) - len(short)))]

    # A drawn row is S = diag(one-hot): E S = 1/P, E S Q S = diag(Q)/P, and E S Q S' = Q/P^2 for independent draws.
    square = error * error.transposed()
    drift = mean(words(X.T) * error * words(D.T)).scaled(1 / rows)
    apart = mean(words(X.T) * square * words(X)).scaled(1 / rows**2)
    alone = X.T * RowScaled(_diagonal(mean(square)), X)
    linear = words(M) - (drift + drift.transposed()).scaled(eta) + apart.scaled(eta**2 * (1 - 1 / batch))
    second = sp.MatAdd(*(term.matrix() for term in _terms(linear)), sp.MatMul(eta**2 / (batch * rows), alone))
    step = words(m) - mean(words(X.T) * error).scaled(eta / rows)
    first = sp.MatAdd(*(term.matrix() for term in _terms(step)))
    excess = _trace(square, mean) / (2 * rows)
    trail = (
        Trail()
        .then("sample loss", "l = 1/2 tr(R' S R),  R = X W - Y,  S = 1 on the drawn row, 0 elsewhere")
        .then("gradient", "g = X' S R,  R = X D - E,  D = W - W*", check="symbolic residual 0", residual=0.0)
        .then("mean over rows", "E S Q S = diag(Q)/P,  E S Q S' = Q/P^2", assumption="rows drawn with replacement")
        .then("normal equations", "X'E = 0", assumption="W* minimises the full-batch loss")
        .then("closed recursion in the data's fourth moments", Equations(((M, second), (m, first)), "map"))
    )
    return Map((M, m), (second, first), observables={"excess_risk": excess}, trail=trail)


def _joined(word, first, second, joint):
    """Every adjacent pair (first, second) replaced by one letter; None if `joint` is None and there is a pair."""
    letters: list = []
    for letter in word:
        if letters and letters[-1] == first and letter == second:
            if joint is None:
                return None
            letters[-1] = joint
        else:
            letters.append(letter)
    return tuple(letters)


def _terms(polynomial: Words) -> list[Words]:
    return [Words({word: value}, polynomial.shape) for word, value in polynomial.terms.items()]


def _diagonal(square: Words):
    """diag of a symmetric polynomial, term by term as products of rows; a word and its transpose count as one."""
    total: dict = {}
    for term in _terms(square):
        twin = term.transposed()
        kept = twin if next(iter(twin.terms)) in total else term
        word, value = next(iter(kept.terms.items()))
        total[word] = total.get(word, 0) + value
    parts = []
    for word, value in total.items():
        left = Words({word[:-1]: sp.S.One}, (square.shape[0], None)).matrix()
        right = Words({((word[-1][0], not word[-1][1]),): sp.S.One}, (square.shape[0], None)).matrix()
        parts.append(sp.MatMul(value, RowProducts(left, right)) if value != 1 else RowProducts(left, right))
    return sp.MatAdd(*parts)


def _trace(square: Words, mean):
    """Trace of the mean of a polynomial, rotated so that it shortens; terms without weights are dropped."""
    total = sp.S.Zero
    for word, value in square.terms.items():
        letters = {letter for letter, _ in word}
        rotated = Words({(word[-1], *word[:-1]): value}, (None, None))
        for short, factor in mean(rotated).terms.items():
            if {letter for letter, _ in short} - letters:
                total += factor * sp.Trace(Words({short: sp.S.One}, (None, None)).matrix())
    return total
