"""Equations that were written as plain text, as LaTeX; and the small mathematics inside sentences, as HTML.

Text is read with Python's own grammar and never evaluated: "W2.T*(S - W2*W1)" becomes W_2^T (S - W_2 W_1). What the
grammar does not cover is left as it is.
"""

import ast
import html
import re

from ...theory.document.notation import GREEK, dotted

LETTERS = dict(zip(GREEK, "αβγδεζηθκλμνξρστφχψω", strict=True)) | {"Sigma": "Σ", "Delta": "Δ", "Theta": "Θ", "Phi": "Φ"}
_GREEK_WORD = rf"(?<![A-Za-z_])({'|'.join(LETTERS)})(?![A-Za-z_])"
PROPER = {"nesterov": "Nesterov", "adam": "Adam", "gaussian": "Gaussian", "rmsprop": "RMSProp", "sgd": "SGD"}
_FUNCTIONS = {"log": r"\log", "exp": r"\exp", "sin": r"\sin", "cos": r"\cos", "Trace": r"\mathrm{tr}"}
_PREFIX = re.compile(r"^(?P<name>\w+)(?P<mark>'|\+)$")
_SUM, _PRODUCT, _POWER, _ATOM = range(4)


def text_latex(text: str) -> list[str] | None:
    """LaTeX of each equation in a text such as "a' = b*(s - a*b); b' = a*(s - a*b)"; None if any cannot be read.

    >>> text_latex("W1' = W2.T*(S - W2*W1)")
    ['\\\\dot{W}_{1} = W_{2}^{T}\\\\,\\\\left(S - W_{2}\\\\,W_{1}\\\\right)']
    >>> text_latex("a sentence, really") is None
    True
    """
    made = []
    for equation in _split(text):
        sides = [_side(side.strip()) for side in re.split(r"(?<![<>=!])=(?!=)", equation)]
        if any(side is None for side in sides):
            return None
        made.append(" = ".join(map(str, sides)))
    return made


def prose(text: str) -> str:
    """A sentence as HTML: powers raised, Greek letters, transposes and powers of ten as they are read aloud.

    >>> prose("moves by eta^2 at 1e-6 of width^(-1/2)")
    'moves by η<sup>2</sup> at 10<sup>−6</sup> of width<sup>−1/2</sup>'
    >>> prose("u -> r u, residual 3.0e-16")
    'u → r u, residual 3·10<sup>−16</sup>'
    >>> prose("ridge/kappa"), prose("norm sqrt(D)")
    ('ridge/κ', 'norm √D')
    """
    made = html.escape(text, quote=False)
    made = re.sub(r"(?<![\w.])(\d+(?:\.\d+)?)e([-+]?)0*(\d+)\b", _power_of_ten, made).replace("-&gt;", "→")
    made = re.sub(r"\^(?:\(([^()]*)\)|(-?[\w/]+))", lambda m: f"<sup>{(m[1] or m[2]).replace('-', '−')}</sup>", made)
    made = re.sub(r"\bsqrt\((\w+)\)", r"√\1", made)
    made = re.sub(r"(?<![A-Za-z])([Wg])(\d)", r"\1<sub>\2</sub>", made)
    made = re.sub(r"(?<![A-Za-z])([Wgu](?:<sub>\d</sub>)?)'", r"\1<sup>T</sup>", made)
    made = re.sub(r"(?<![A-Za-z])([A-Za-z]+)_([a-z]{1,2})\b", _indexed, made)
    made = re.sub(r"(?<![A-Za-z<])(?<!</)(" + "|".join(LETTERS) + r")(?![A-Za-z])", lambda m: LETTERS[m[1]], made)
    return made.replace(" - ", " − ")


def title(name: str) -> str:
    """A name from code as words, with proper names in capitals and the first letter raised.

    >>> title("risk_gaussian"), title("nesterov")
    ('Risk Gaussian', 'Nesterov')
    """
    words = proper(name.replace("_", " "))
    return words[:1].upper() + words[1:]


def proper(words: str) -> str:
    """Proper names in capitals."""
    return " ".join(PROPER.get(word, word) for word in words.split(" "))


def name_latex(name: str) -> str:
    """A name as LaTeX: Greek letters, indices, and words of several letters upright.

    >>> name_latex("lambda_j"), name_latex("W1"), name_latex("target_power"), name_latex("sigma2")
    ('\\\\lambda_{j}', 'W_{1}', '\\\\mathrm{target\\\\ power}', '\\\\sigma^{2}')
    """
    if name == "sigma2":
        return r"\sigma^{2}"
    stem, _, index = name.partition("_")
    found = re.fullmatch(r"([A-Za-z]+?)(\d+)", stem)
    if found and not index:
        stem, index = found[1], found[2]
    greek = stem.lower() in GREEK
    if greek or len(stem) == 1:
        letter = "\\" + stem if greek else stem
        return letter + (f"_{{{index}}}" if index else "")
    return r"\mathrm{" + name.replace("_", r"\ ") + "}"


def spoken(text: str) -> str:
    """Mathematics that is no single formula, as HTML in words and symbols.

    >>> spoken("l = 1/2 (x.w - z)^2, z ~ N(0, sigma2)")
    'l = 1/2 (x.w − z)<sup>2</sup>, z ~ N(0, σ<sup>2</sup>)'
    """
    made = prose(re.sub(r"\bsigma2\b", "sigma^2", text).replace("**", "^")).replace("&lt;-", "←")
    return re.sub(r"(?<=[\w)>])\*(?=[\w(<])", " ", re.sub(r"\bover\(", "Σ<sub>modes</sub>(", made))


def label(words: str) -> str:
    """A name in a figure: proper names in capitals, Greek letters, a real minus sign.

    >>> label("growth |1 - eta S| of nesterov")
    'growth |1 − η S| of Nesterov'
    >>> label("first order in 1/alpha")
    'first order in 1/α'
    """
    return re.sub(_GREEK_WORD, lambda found: LETTERS[found[0]], proper(words).replace(" - ", " − "))


def _power_of_ten(found: re.Match) -> str:
    mantissa = found[1].rstrip("0").rstrip(".") if "." in found[1] else found[1]
    return ("" if mantissa == "1" else f"{mantissa}·") + f"10<sup>{'−' if found[2] == '-' else ''}{found[3]}</sup>"


def _indexed(found: re.Match) -> str:
    stem = LETTERS.get(found[1], found[1])
    return f"{stem}<sub>{found[2]}</sub>" if len(stem) == 1 else found[0]


def _split(text: str) -> list[str]:
    """Equations apart: at semicolons and colons, and at commas outside brackets."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter in "([") - (letter in ")]")
        if letter in ";:" or (letter == "," and not depth):
            parts.append("")
        else:
            parts[-1] += letter
    return [part for part in parts if part.strip()]


def _side(text: str) -> str | None:
    marked = _PREFIX.match(text)
    if marked:
        name = name_latex(marked["name"])
        return dotted(name) if marked["mark"] == "'" else f"{name}^{{+}}"
    # "lambda" is a word of Python's own
    source = re.sub(r"\blambda\b", "lambda_", text)
    try:
        return _term(ast.parse(source.replace("^", "**"), mode="eval").body)[0]
    except (SyntaxError, KeyError, TypeError, ValueError):
        return None


def _term(node: ast.expr) -> tuple[str, int]:
    """LaTeX of a node and how tightly it binds. Raises `KeyError` for what is no formula."""
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        return f"{node.value:g}", _ATOM
    if isinstance(node, ast.Name):
        return name_latex(node.id.removesuffix("_")), _ATOM
    if isinstance(node, ast.Attribute) and node.attr == "T":
        return _held(node.value, _ATOM) + "^{T}", _POWER
    if isinstance(node, ast.Call) and len(node.args) == 1 and isinstance(node.func, ast.Name):
        inside = _term(node.args[0])[0]
        if node.func.id == "sqrt":
            return rf"\sqrt{{{inside}}}", _ATOM
        if node.func.id == "over":
            return r"\sum_{\mathrm{modes}}" + _held(node.args[0], _PRODUCT), _PRODUCT
        function = _FUNCTIONS.get(node.func.id) or name_latex(node.func.id)
        return rf"{function}\left({inside}\right)", _ATOM
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return "-" + _held(node.operand, _PRODUCT), _SUM
    if isinstance(node, ast.BinOp):
        return _binary(node)
    raise KeyError(ast.dump(node))


def _binary(node: ast.BinOp) -> tuple[str, int]:
    if isinstance(node.op, ast.Add | ast.Sub):
        # what is subtracted comes last: s - a, not -a + s
        terms = sorted(_addends(node), key=lambda term: term[0])
        first = ("-" if terms[0][0] else "") + _held(terms[0][1], _PRODUCT)
        return first + "".join((" - " if minus else " + ") + _held(t, _PRODUCT) for minus, t in terms[1:]), _SUM
    if isinstance(node.op, ast.Mult):
        return _held(node.left, _PRODUCT) + r"\," + _held(node.right, _PRODUCT), _PRODUCT
    if isinstance(node.op, ast.Div):
        return rf"\dfrac{{{_term(node.left)[0]}}}{{{_term(node.right)[0]}}}", _PRODUCT
    if isinstance(node.op, ast.Pow):
        return f"{_held(node.left, _ATOM)}^{{{_term(node.right)[0]}}}", _POWER
    raise KeyError(ast.dump(node.op))


def _addends(node: ast.expr, minus: bool = False) -> list[tuple[bool, ast.expr]]:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Sub):
        return _addends(node.left, minus) + _addends(node.right, minus ^ isinstance(node.op, ast.Sub))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return _addends(node.operand, not minus)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult | ast.Div):
        if isinstance(node.left, ast.UnaryOp) and isinstance(node.left.op, ast.USub):
            return [(not minus, ast.BinOp(node.left.operand, node.op, node.right))]
        (inner, left), *others = _addends(node.left) if isinstance(node.left, ast.BinOp) else [(False, node.left)]
        if inner and not others:  # -a*b*c is minus the product
            return [(not minus, ast.BinOp(left, node.op, node.right))]
    return [(minus, node)]


def _held(node: ast.expr, tightness: int) -> str:
    """A part, in brackets where it binds less tightly than what surrounds it."""
    text, own = _term(node)
    return text if own >= tightness else rf"\left({text}\right)"
