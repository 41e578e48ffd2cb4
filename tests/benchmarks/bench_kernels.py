"""Kernel matrices: N = 2000, d = 64, ReLU, NNGP and NTK, float64, against neural-tangents under jit.

Run it as `python tests/benchmarks/bench_kernels.py [PYTHON]`, where PYTHON (or the environment variable
NEURAL_TANGENTS_PYTHON) is the interpreter of an environment in which neural-tangents imports, say

    python -m venv peer
    peer/bin/pip install neural-tangents==0.6.5 jax==0.4.30 jaxlib==0.4.30 tf2jax==0.3.6 numpy==2.0.2

Both sides run in processes of their own, on all processors; CPU seconds are those of the process, the median of seven
calls after two that are not counted. Added memory is the peak of the resident set over what the process held after its
imports and the data, so that it includes the two results of 31 MB each; a process of its own measures it.
"""

import argparse
import json
import os
import subprocess
import sys

SETTINGS = [(3, 0.0), (10, 0.0), (3, 0.1), (10, 0.1)]
COMMON = """
import json, resource, sys, time
import numpy as np
hidden, b_std, calls = int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
x = np.random.default_rng(0).standard_normal((2000, 64))
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize() if sys.platform == "linux" else 0
def report(call, ready=None):
    before = resident()
    cpu, wall = [], []
    for _ in range(calls):
        start = time.process_time(), time.perf_counter()
        found = call()
        cpu.append(time.process_time() - start[0])
        wall.append(time.perf_counter() - start[1])
        if calls > 1:
            del found
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    found = call() if calls > 1 else found
    entries = [float(np.asarray(f)[3, 5]) for f in found], [float(np.asarray(f)[7, 7]) for f in found]
    print(json.dumps({"cpu": float(np.median(cpu[2:] or cpu)), "wall": float(np.median(wall[2:] or wall)),
                      "added": peak - before, "entries": entries}))
"""
OURS = (
    COMMON
    + """
from learning_mechanics.theory.architecture.constructors import activation, dense, serial
from learning_mechanics.theory.infinite_width.network_kernel import infinite_width
net = serial(*[dense(2**0.5, b_std), activation("relu")] * hidden, dense(2**0.5, b_std))
kernel = infinite_width(net)
kernel(x[:3])
report(lambda: (lambda both: (both.nngp, both.ntk))(kernel(x)))
"""
)
THEIRS = (
    COMMON
    + """
import jax
jax.config.update("jax_enable_x64", True)
from neural_tangents import stax
layer = lambda width: stax.Dense(width, W_std=2**0.5, b_std=b_std or None, parameterization="ntk")
parts = [part for _ in range(hidden) for part in (layer(512), stax.Relu())]
_, _, kernel_fn = stax.serial(*parts, layer(1))
jitted = jax.jit(lambda x: kernel_fn(x, None, ("nngp", "ntk")))
jitted(x[:3])
def call():
    both = jitted(x)
    return jax.block_until_ready(both.nngp), jax.block_until_ready(both.ntk)
report(call)
"""
)


def measured(code: str, python: str, hidden: int, b_std: float, calls: int) -> dict:
    """What one process reports; `python` is its interpreter."""
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    environment = dict(os.environ, PYTHONPATH=root, TF_CPP_MIN_LOG_LEVEL="3", JAX_PLATFORMS="cpu")
    environment.pop("XLA_FLAGS", None)
    run = subprocess.run(
        [python, "-W", "ignore", "-c", code, str(hidden), str(b_std), str(calls)],
        capture_output=True,
        text=True,
        env=environment,
    )
    if run.returncode:
        raise RuntimeError(run.stderr[-2000:])
    return json.loads(run.stdout.splitlines()[-1])


def compare(peer: str, hidden: int, b_std: float) -> dict:
    """Both sides of one setting: times of seven calls, and memory of a process that calls once."""
    ours = measured(OURS, sys.executable, hidden, b_std, 9)
    ours["added"] = measured(OURS, sys.executable, hidden, b_std, 1)["added"]
    found = {"ours": ours}
    if peer:
        theirs = measured(THEIRS, peer, hidden, b_std, 9)
        theirs["added"] = measured(THEIRS, peer, hidden, b_std, 1)["added"]
        found["theirs"] = theirs
    return found


def main() -> None:
    """Print one line a setting."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("python", nargs="?", default=os.environ.get("NEURAL_TANGENTS_PYTHON", ""))
    peer = parser.parse_args().python
    if not peer:
        print("no interpreter with neural-tangents is given (argument or NEURAL_TANGENTS_PYTHON): only this package")
    for hidden, b_std in SETTINGS:
        found = compare(peer, hidden, b_std)
        ours = found["ours"]
        line = (
            f"{hidden:>2} hidden layers, b_std {b_std:g}: {ours['cpu']:.3f} CPU s, {ours['wall']:.3f} s, "
            f"{ours['added'] / 1e6:.0f} MB added"
        )
        if peer:
            theirs = found["theirs"]
            off, own = (
                max(abs(p / q - 1) for p, q in zip(ours["entries"][k], theirs["entries"][k], strict=True))
                for k in (0, 1)
            )
            line += (
                f"; neural-tangents {theirs['cpu']:.3f} CPU s, {theirs['wall']:.3f} s, {theirs['added'] / 1e6:.0f} MB; "
                f"CPU ratio {theirs['cpu'] / ours['cpu']:.1f} (required {2 if hidden == 3 else 4}), wall ratio "
                f"{theirs['wall'] / ours['wall']:.1f} (required 1); entries differ by {off:.0e}, diagonal by {own:.0e}"
            )
        print(line)


if __name__ == "__main__":
    main()
