"""The part of the report on registered forecasts: the figure, the summary, a row for each, and what was refused."""

from collections.abc import Mapping, Sequence
from typing import Any

from ..forecasts.registered import Registered
from ..forecasts.score import Score, Summary
from .figures.settled import settled_figure
from .figures.style import data_uri
from .report_page import EXPONENTS, escape, picture
from .typesetting import proper


def forecast_section(
    forecasts: Sequence[Registered], scores: Sequence[Score], refused: Mapping[str, str]
) -> tuple[str, str]:
    """HTML of the section, and what the contents say of it; empty where nothing was forecast."""
    if not scores:
        return "", ""
    summary = Summary(tuple(scores))
    told = summary.to_dict()
    inside = sum(score.covered for score in scores)
    lead = (
        f"{len(scores)} exponents of {len(told['median_miss_by_task'])} tasks were forecast from half of the rows, "
        f"written down, and then measured on the other half. {inside} of {len(scores)} lie inside their 90 % interval. "
        f"The median miss is {told['median_miss']:.3f}, the largest {told['largest_miss']:.3f}, the median half-width "
        f"{told['median_half_width']:.3f}. One constant exponent, chosen afterwards, misses by {summary.constant:.3f} "
        f"in the median, extrapolating the three smallest runs by {summary.naive:.3f}."
    )
    caption = (
        "Each row is a task, a learner and an axis. The band is the forecast with its 90 % interval, the dot what runs "
        "on rows the forecast never saw then gave, the dashed tick what their three smallest runs would have said."
    )
    head = (
        "<tr><th>forecast</th><th class=n>exponent</th><th class=n>measured</th><th class=n>miss</th><th class=n>z</th>"
        "<th class=n>three smallest</th><th class=n>window</th><th class=n>runs</th><th>registered</th></tr>"
    )
    known = {forecast.hash: forecast for forecast in forecasts}
    rows = "".join(_row(score, known[score.forecast]) for score in scores)
    left = "".join(f"<li>{escape(name)}: {escape(reason)}</li>" for name, reason in refused.items())
    body = (
        f'<h2 id="{EXPONENTS[0]}">{EXPONENTS[1]}</h2><p>{escape(lead)}</p>'
        f"{picture(data_uri(settled_figure(scores)), caption)}"
        f'<div class="table"><table class="verdicts">{head}{rows}</table></div>'
        + (f"<p>No exponent was forecast for these, and why:</p><ul>{left}</ul>" if left else "")
    )
    return body, f"{inside} of {len(scores)} inside their 90 % interval"


def _row(score: Score, forecast: Registered) -> str:
    badge = "holds" if score.covered else "refuted"
    sizes = score.abscissa
    cells: tuple[Any, ...] = (
        f"{score.predicted:.3f} ± {score.error:.3f}",
        f"{score.measured:.3f} ± {score.standard_error:.3f}",
        f'<span class="badge {badge}">{score.miss:+.3f}</span>'.replace("-0", "−0"),
        f"{score.z:+.1f}".replace("-", "−"),
        f"{score.naive:.3f}",
        f"{sizes[0]:.4g}–{sizes[-1]:.4g}",
        str(score.facts.get("runs", "")),
    )
    numbers = "".join(f"<td class=n>{cell}</td>" for cell in cells)
    stamp = f"<code>{escape(forecast.hash[:10])}</code>"
    return f"<tr><td>{escape(proper(score.name.replace('_', ' ')))}</td>{numbers}<td>{stamp}</td></tr>"
