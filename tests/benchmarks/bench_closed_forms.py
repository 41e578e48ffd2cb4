"""Speed of closed forms: a million points each, against NumPy's own exponential and an adaptive integrator.

Run it as `python tests/benchmarks/bench_closed_forms.py`. Every figure is the smallest CPU time of several repeats in
one process, after a first call that builds the tables; the ratio to `np.exp` on as many points is what a busy or slow
machine changes least. The last column is the largest difference from DOP853 at relative tolerance 1e-12, on one mode.
"""

import time
from functools import partial

import numpy as np
from scipy.integrate import solve_ivp

from learning_mechanics.theory.closed_forms.closed_form import closed_form
from learning_mechanics.theory.dynamics.linear_networks import corrected_mode_flow, infinite_depth_flow, mode_flow
from learning_mechanics.theory.dynamics.unbalanced import product_flow
from learning_mechanics.theory.dynamics.weight_decay import decayed_layer_flow

POINTS = 1_000_000
EXPLICIT_SECONDS, IMPLICIT_SECONDS = 0.05, 0.5


def fastest(function, repeats: int = 7) -> float:
    """CPU seconds of the quickest of several calls, after one that is not counted."""
    function()
    seconds = []
    for _ in range(repeats):
        began = time.process_time()
        function()
        seconds.append(time.process_time() - began)
    return min(seconds)


def cases() -> dict:
    """Name -> (system, values of one mode)."""
    values = {"s": 1.0, "eta": 0.05, "mu": 0.05, "delta": 0.3}
    found = {f"{depth} layers": (mode_flow(depth), {"a": 1e-3}) for depth in range(1, 9)}
    found["infinite depth"] = infinite_depth_flow(), {"a": 1e-3}
    found["two unbalanced layers"] = product_flow(), {"z": 1e-3}
    found["3 layers, finite steps"] = corrected_mode_flow(3), {"a": 1e-3}
    found["3 layers, weight decay"] = decayed_layer_flow(3), {"u": 0.3}
    return {name: (system, {**values, **start}) for name, (system, start) in found.items()}


def measure(points: int = POINTS, repeats: int = 7) -> list[dict]:
    """One record for each case: seconds, the ratio to `np.exp`, the kind of law, and the gap to integration."""
    numbers = np.linspace(-5.0, 5.0, points)
    calibration = fastest(lambda: np.exp(numbers), repeats)
    records = []
    for name, (system, values) in cases().items():
        form, times = closed_form(system), np.linspace(0.0, 30.0, points)
        seconds = fastest(partial(form.evaluate, times, **values), repeats)
        records.append(
            {
                "name": name,
                "kind": form.kind,
                "method": form.method,
                "seconds": seconds,
                "ratio": seconds / calibration,
                "gap": gap(form, values),
            }
        )
    return records


def gap(form, values) -> float:
    """Largest difference from the integrated equation."""
    import sympy as sp

    symbols = sorted(form.system.equations[0].free_symbols - {form.unknown}, key=str)
    right = sp.lambdify([form.unknown, *symbols], form.system.equations[0], "numpy")
    numbers = [values[symbol.name] for symbol in symbols]
    times = np.linspace(0.0, 30.0, 50)
    start = [values[form.unknown.name]]
    found = solve_ivp(lambda t, y: right(y, *numbers), (0, 30), start, "DOP853", times, rtol=1e-12, atol=1e-15)
    return float(np.abs(form.evaluate(times, **values) - found.y[0]).max())


if __name__ == "__main__":
    print(f"{'law':<24} {'solved by':<24} {'kind':<9} {'ms per 1e6':>10} {'x np.exp':>9} {'gap to ODE':>11}")
    for record in measure():
        bar = EXPLICIT_SECONDS if record["kind"] == "explicit" else IMPLICIT_SECONDS
        mark = "" if record["seconds"] < bar else f"  above {1e3 * bar:.0f} ms"
        print(
            f"{record['name']:<24} {record['method']:<24} {record['kind']:<9} {1e3 * record['seconds']:>10.1f} "
            f"{record['ratio']:>9.0f} {record['gap']:>11.1e}{mark}"
        )
