"""What the modes of a linear network mean, as pictures: the image each one responds to, and what it answers.

The one equation: with activation a = x . v_k over the samples, the picture of mode k is mean(a x image), the average
image weighted by how strongly the mode is active; it is the same in whitened as in raw coordinates.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from .style import INK, data_uri, style

SHOWN = 8


def pictures(runs: Sequence[Any], model: str, pictured: dict[Any, str]) -> list[dict[str, str]]:
    """Pictures for the first run of each data set on which a linear network learned images of digits.

    `pictured` says which model has shown a data set already; that is then named instead of shown again.
    """
    made, seen = [], set()
    for run in runs:
        setup = run.claim.setup
        known = setup.data in IMAGES if isinstance(setup.data, str) else False
        linear = setup.network is not None and setup.network.is_linear and setup.procedure == "full_batch"
        if not known or not linear or not setup.total_steps() or setup.sample != "all":
            continue
        key = (setup.data, tuple(step for step in setup.prepare if step != "second_moments"))
        if key in seen:
            continue
        seen.add(key)
        if pictured.setdefault(key, model) == model:
            made.append(_modes(setup))
        else:
            made.append({"data": setup.data.replace("_", " "), "shown": pictured[key]})
    return list({(entry.get("data"), entry.get("shown"), entry.get("image")): entry for entry in made}.values())


IMAGES = {"digits": (8, 8), "digits_halves": (4, 8)}


def _modes(setup) -> dict[str, str]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    from ...inputs.data import load

    raw = load(setup.data)
    # rows must stay images here; the modes do not depend on how rows are condensed
    data = raw.prepare(*(step for step in setup.prepare if step != "second_moments"))
    _, correlation = data.covariances()
    left, singular, right = np.linalg.svd(correlation, full_matrices=False)
    rank = min(int((singular > 1e-10 * singular[0]).sum()), SHOWN)
    answers_are_images = data.y.shape[1] > 10
    images = raw.x - raw.x.mean(0)
    with style():
        figure = Figure(
            figsize=(8.6, 1.8 if answers_are_images else 1.75), layout=ConstrainedLayoutEngine(hspace=0.02, h_pad=0.02)
        )
        FigureCanvasAgg(figure)
        axes = figure.subplots(2 if answers_are_images else 1, SHOWN, squeeze=False)
        for unused in axes[:, rank:].flat:
            unused.axis("off")
        for mode in range(rank):
            sign = np.sign(left[np.argmax(np.abs(left[:, mode])), mode])
            active = sign * data.x @ right[mode]
            _image(axes[0, mode], (active @ images / len(images)).reshape(IMAGES[setup.data]))
            axes[0, mode].set_title(f"mode {mode + 1}\ns = {singular[mode]:.3f}", fontsize=8.5, loc="center")
            answer = sign * left[:, mode]
            if answers_are_images:
                _image(axes[1, mode], answer.reshape(IMAGES[setup.data]))
            else:
                axes[0, mode].set_xlabel(_classes(answer, data.facts.get("classes")), fontsize=8, color=INK)
    what = (
        "Top: the half image a mode responds to; bottom: the half image it answers with."
        if answers_are_images
        else "The image each mode responds to (purple: ink, orange: no ink) and the digits it tells apart."
    )
    return {"image": data_uri(figure), "caption": f"Modes of {setup.data.replace('_', ' ')} by strength. {what}"}


def _image(axes, values: np.ndarray) -> None:
    limit = np.abs(values).max() or 1.0
    axes.imshow(values, cmap="PuOr", vmin=-limit, vmax=limit, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(True)
        spine.set_linewidth(0.5)


def _classes(answer: np.ndarray, names) -> str:
    """Classes a mode raises and lowers, strongest first: those above half of the strongest."""
    labels = [f"{name:g}" for name in names] if names else [str(index) for index in range(len(answer))]
    strong = np.abs(answer) > 0.5 * np.abs(answer).max()
    raised = [labels[i] for i in np.argsort(-answer) if answer[i] > 0 and strong[i]]
    lowered = [labels[i] for i in np.argsort(answer) if answer[i] < 0 and strong[i]]
    return " ".join(raised) + (f"\nnot {' '.join(lowered)}" if lowered else "")
