"""Commands on an architecture: `network` says what a network of infinite width does, before any data."""

from argparse import Namespace
from typing import Any

from .console import as_json, show
from .theory.errors import BadData, NoClosedForm

LONGEST = 300  # characters of a formula that is worth a line


def kernel(name: str, network: str | None, depth: int) -> Any:
    """The kernel of a command line: a name with its depth, or one of a network written as text."""
    from .theory.regression.kernels import infinite_width, parse

    if not network:
        return parse(name, depth=depth)
    from .theory.architecture.text import parse as read

    which, _, rest = name.partition("-")
    if which not in ("ntk", "nngp") or (rest and name != "ntk-relu"):
        raise BadData(f"kernel {name!r} of a network", where="--kernel", remedy="give ntk or nngp with --network")
    return infinite_width(read(network)).as_kernel(which)


def network(arguments: Namespace) -> int:
    """Recursion, formula and spectrum of the kernels of a network; signal propagation where it is a block."""
    from .theory.architecture.text import parse
    from .theory.regression.kernels import infinite_width
    from .theory.spectra.eigen_spectra import sphere

    stated = parse(arguments.network)
    engine = infinite_width(stated)
    content: dict[str, Any] = {"network": arguments.network, "recursion": str(engine).splitlines()}
    cards = [str(engine)]
    formulas = _formulas(engine)
    if formulas:
        content["formulas"] = formulas
        short = {name: text for name, text in formulas.items() if len(text) <= LONGEST}
        lines = [f"{name:<6}{text}" for name, text in short.items()] or ["too long to print: see --json"]
        cards.append("\n".join(["At |x|^2 = |x'|^2 = d, with t the cosine of the angle between x and x':", *lines]))
    if arguments.repeated:
        from .theory.signals.phases import phase

        found = phase(stated)
        content["phase"] = found.to_dict()
        cards.append(str(found))
    if arguments.dimension:
        spectrum = sphere(engine, dimension=arguments.dimension, levels=arguments.levels, which=arguments.kernel)
        content["spectrum"] = spectrum.to_dict()
        cards.append(str(spectrum))
    return as_json(content) if arguments.json else show("\n\n".join(cards))


def _formulas(engine: Any) -> dict[str, str]:
    """Both kernels as text where every activation has a closed form."""
    try:
        found = engine.symbolic()
    except (NoClosedForm, BadData):
        return {}
    return {name: str(getattr(found, name)) for name in ("nngp", "ntk") if getattr(found, name) is not None}
