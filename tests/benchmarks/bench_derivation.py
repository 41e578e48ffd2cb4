"""Time to derive the equations of motion of linear networks, with every check that comes with them.

    python tests/benchmarks/bench_derivation.py

    a chain of 6 layers with widths of their own, from the graph to verified matrix equations    < 2 s
    the same reduced to one mode: whitened, aligned, balanced
    a residual stack of 6 blocks: 64 paths, each a word of the end-to-end map

After import, the best of three; nothing is kept between repeats but SymPy's own cache.
"""

import time

from learning_mechanics.theory.architecture.network import Network, Node, chain
from learning_mechanics.theory.derivation.network_flow import network_flow
from learning_mechanics.theory.derivation.standard_assumptions import Aligned, Balanced, Whitened


def residual_stack(blocks: int) -> Network:
    """y = (1 + W_n) ... (1 + W_1) U x."""
    nodes = [Node("x", "input", width="input"), Node("h0", "dense", ("x",), weight="U", width="width")]
    for block in range(1, blocks + 1):
        nodes += [
            Node(f"branch{block}", "dense", (f"h{block - 1}",), weight=f"W{block}", width="width"),
            Node(f"h{block}", "sum", (f"h{block - 1}", f"branch{block}")),
        ]
    return Network(tuple(nodes))


def seconds(derive, repeats: int = 3) -> float:
    """Best time of a few repeats."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        derive()
        times.append(time.perf_counter() - start)
    return min(times)


def main() -> None:
    """Print one line per case."""
    deep = chain("input", *(f"hidden{layer}" for layer in range(1, 6)), "output")
    even = chain("input", *["width"] * 5, "output")
    cases = {
        "depth 6": lambda: network_flow(deep),
        "depth 6 to one mode": lambda: network_flow(even).assume(Whitened(), Aligned(), Balanced()),
        "6 residual blocks": lambda: network_flow(residual_stack(6)),
    }
    start = time.perf_counter()
    cases["depth 6"]()
    print(f"{'depth 6, first time':24} {time.perf_counter() - start:.3f} s")
    for name, derive in cases.items():
        print(f"{name:24} {seconds(derive):.3f} s")


if __name__ == "__main__":
    main()
