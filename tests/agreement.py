"""Two reports of the same claims, from two devices: what is kept of each, and where they disagree.

    python tests/agreement.py learning-mechanics-report/report.json tests/reference/gpu/numbers.json

keeps a report (a CPU's goes to `tests/reference/cpu/`). Two agree if every claim has the same verdict; float64 numbers
that do not scatter differ by at most 1e-8 of the largest; means over seeds by at most four standard errors. Of float32
runs that do not scatter the judged number is compared, within its budget: rounding differs between devices, and at the
edge of stability it grows until single steps have nothing in common.
"""

import json
import sys
from pathlib import Path

import numpy as np

EXACT = 1e-8  # of the largest value
STANDARD_ERRORS = 4.0
ROUNDING = {"float64": 1e-10, "float32": 1e-5}  # of the largest value, where nothing scatters yet
POINTS = 12  # recorded points kept of every curve
COMPONENTS = 16  # components kept of every point


def condensed(report):
    """The part of a report's JSON that is compared: verdicts, and curves at a dozen points."""
    kept = {}
    for model in report["models"]:
        for claim in model["claims"]:
            verdict, measurement = claim["verdict"], claim["measurement"]
            values = np.array(measurement["values"], float)
            values = values[:, :, _spread(values.shape[2], POINTS)][..., _spread(values.shape[3], COMPONENTS)]
            scatters = float(verdict["critical_z"]) > 0
            entry = {name: verdict[name] for name in ("outcome", "bias", "device", "dtype")}
            entry |= {"budget": verdict["budget"]["total"], "scatters": scatters, "seeds": len(values)}
            if scatters:
                entry["mean"] = values.mean(0).tolist()
                entry["error"] = (values.std(0, ddof=1) / np.sqrt(len(values))).tolist()
            else:
                entry["values"] = values.tolist()
            kept[f"{verdict['theory']}/{verdict['claim']}"] = entry
    return {"environment": report["environment"], "claims": kept}


def _spread(size, count):
    """At most `count` places from the first to the last."""
    return np.unique(np.linspace(0, size - 1, min(size, count)).round().astype(int))


def disagreements(one, other):
    """One line for everything in which two condensed reports differ by more than they may."""
    first, second = one["claims"], other["claims"]
    found = [f"{name}: judged on one device only" for name in sorted(first.keys() ^ second.keys())]
    for name in sorted(first.keys() & second.keys()):
        found += [f"{name}: {line}" for line in _differences(first[name], second[name])]
    return found


def _differences(a, b):
    if a["outcome"] != b["outcome"]:
        yield f"{a['outcome']} on {a['device']}, {b['outcome']} on {b['device']}"
    if (a["scatters"], a["dtype"]) != (b["scatters"], b["dtype"]):
        yield f"another kind of run: {a['dtype']} and {b['dtype']}"
        return
    kind = "mean" if a["scatters"] else "values"
    x, y = (np.array(entry[kind], float) for entry in (a, b))
    if x.shape != y.shape:
        yield f"shapes {x.shape} and {y.shape}"
        return
    largest = max(np.abs(x).max(), 1e-300)
    if a["scatters"]:
        error = np.hypot(np.array(a["error"], float), np.array(b["error"], float))
        beyond = np.abs(x - y) / (error + ROUNDING[a["dtype"]] * largest / STANDARD_ERRORS)
        if not np.all(beyond <= STANDARD_ERRORS):
            yield f"means differ by {np.max(beyond):.1f} standard errors"
    elif a["dtype"] == "float64":
        if not np.all(np.abs(x - y) <= EXACT * largest):
            yield f"numbers differ by {np.max(np.abs(x - y)) / largest:.1e} of the largest"
    elif not abs(float(a["bias"]) - float(b["bias"])) <= a["budget"]:
        yield f"judged {a['bias']:.3g} and {b['bias']:.3g}, a budget of {a['budget']:.3g} apart"


if __name__ == "__main__":
    source, target = map(Path, sys.argv[1:3])
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(condensed(json.loads(source.read_text())), separators=(",", ":")) + "\n")
