"""The main job: derive, predict, train and judge every claim of every model on real data, and write it all down.

One folder receives the ledger (forecasts and verdicts, written as they come), `report.json` with every number, and
`report.html`, one self-contained page; beside it lies `derivations/`, a page with everything that each model derives.
An interrupted run keeps what it finished; the same call goes on from there.
"""

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from ...theory.errors import LearningMechanicsError, WouldOverwrite
from ...theory.model import Theory, find
from ...theory.model import models as all_models
from ..experiments.experiment import resolve_device, versions
from ..forecasts.cell_forecasts import Settled, settle_cells
from ..forecasts.folder import ForecastFolder
from ..forecasts.score import Summary
from ..judging.check import Run, run_claim
from ..judging.ledger import Ledger, write
from ..judging.verdict import Verdict, plain
from .cards import content as page_content
from .derivation_page import DerivationPages
from .report_page import page


@dataclass(frozen=True, eq=False)
class Report:
    """What a finished report says and where it lies. `status` is 0 if every claim turned out as announced, else 1."""

    html: Path
    json: Path
    verdicts: tuple[Verdict, ...]
    failures: dict[tuple[str, str], str]
    seconds: float
    resumed: int = 0

    @property
    def status(self) -> int:
        return 0 if not self.failures and all(verdict.as_expected for verdict in self.verdicts) else 1

    def to_dict(self) -> dict[str, Any]:
        return {
            "html": str(self.html),
            "json": str(self.json),
            "seconds": self.seconds,
            "status": self.status,
            "verdicts": [verdict.to_dict() for verdict in self.verdicts],
            "failures": {"/".join(key): reason for key, reason in self.failures.items()},
        }

    def __str__(self) -> str:
        lines = [_summary(self.verdicts, self.failures, self.seconds)]
        lines += [f"  {'/'.join(key)}: not judged: {reason}" for key, reason in self.failures.items()]
        lines += [
            f"  {verdict.name}: {verdict.outcome.replace('_', ' ')}, announced {verdict.expected.replace('_', ' ')}"
            for verdict in self.verdicts
            if not verdict.as_expected
        ]
        return "\n".join([*lines, f"  {self.html}", f"  {self.json}"])


def report(
    directory: str | Path = "learning-mechanics-report",
    models: Sequence[str | Theory] | None = None,
    device: str | None = None,
    seed: int = 0,
    progress: bool = True,
    force: bool = False,
) -> Report:
    """Run everything and write the report. `models` are names or instances, by default all of them.

    Errors: `WouldOverwrite` if a finished report, or the run of another seed or device, is in the way; `UnknownName`
    for a model that does not exist. A claim that stops with an explained failure is reported as not judged.
    """
    started = time.perf_counter()
    directory = Path(directory)
    targets = directory / "report.html", directory / "report.json"
    if not force and targets[0].exists():
        raise WouldOverwrite(f"{targets[0]} exists", remedy="choose another directory or pass --force")
    theories = [find(name)() if isinstance(name, str) else name for name in models or all_names()]
    _, place = resolve_device(device)
    settings = {"version": _version(), "seed": seed, "device": place}
    ledger = Ledger(directory, settings, force)
    runs, failures, resumed = [], {}, 0
    with DerivationPages(theories, directory / "derivations") as pages, _Display(theories, progress) as display:
        try:
            for theory in theories:
                for claim in theory.claims():
                    key = (theory.model_name(), claim.name)
                    finished = _kept(ledger, claim, *key)
                    display.start(*key, claim.seconds)
                    if finished:
                        forecasts = (ledger.forecast(*key), ledger.forecast(*key, rival=True))
                        runs.append((theory, Run(key[0], claim, *forecasts, finished[1], finished[0])))
                        resumed += 1
                    else:
                        try:
                            run = run_claim(
                                theory, claim, seed=seed, device=device, progress=display.advance, ledger=ledger
                            )
                        except LearningMechanicsError as error:
                            failures[key] = str(error)
                            display.say(f"NOT JUDGED  {' / '.join(key)}\n  {error}")
                            continue
                        finally:
                            display.finish()
                        verdict = replace(run.verdict, numbers={**run.verdict.numbers, "terms": _terms(claim)})
                        run = replace(run, verdict=verdict)
                        ledger.record(verdict, run.measurement)
                        runs.append((theory, run))
                    display.say(str(runs[-1][1].verdict) + ("\n  kept        from an earlier run" if finished else ""))
        except KeyboardInterrupt:
            display.say(
                f"interrupted: {len(runs)} verdicts are kept in {directory}; the same command goes on from there"
            )
            raise
        settled = _exponents(directory, display, seed, force) if models is None else Settled((), (), {})
        derivations = pages.finish()
    seconds = time.perf_counter() - started
    environment = {**settings, **dict(versions()), "seconds": round(seconds, 1), "claims_resumed": resumed}
    verdicts = tuple(run.verdict for _, run in runs)
    content = {
        "environment": environment,
        "models": [_model_record(theory, [run for t, run in runs if t is theory]) for theory in theories],
        "exponents": _exponents_record(settled),
        "failures": {"/".join(key): reason for key, reason in failures.items()},
    }
    write(targets[1], json.dumps(plain(content)))
    summary = _summary(verdicts, failures, seconds) + (f" {resumed} were kept from an earlier run." if resumed else "")
    write(targets[0], page(page_content(theories, runs, failures, environment, summary, derivations, settled)))
    ledger.verify()
    return Report(*targets, verdicts, failures, seconds, resumed)


def _exponents(directory: Path, display: "_Display", seed: int, force: bool) -> Settled:
    """Exponents of real tasks: registered in `exponents/` beside the report, then measured."""
    from ..tasks.cells import report_cells

    folder = directory / "exponents"
    if force and folder.exists():  # forecasts on record are put aside, not lost
        aside = next(path for n in range(1, 10**6) if not (path := directory / f"exponents.{n}").exists())
        folder.rename(aside)
    cells = report_cells()
    display.start("exponents", "forecasts", sum(cell.seconds for cell in cells))
    settled = settle_cells(ForecastFolder(folder), cells, seed, progress=lambda what, done: display.advance(done))
    display.finish()
    display.say("\n".join(["EXPONENTS FORECAST BEFORE TRAINING", str(Summary(settled.scores))]))
    return settled


def _exponents_record(settled: Settled) -> dict[str, Any]:
    return {
        "forecasts": [forecast.to_dict() for forecast in settled.forecasts],
        "scores": [score.to_dict() for score in settled.scores],
        "refused": settled.refused,
        "summary": Summary(settled.scores).to_dict() if settled.scores else {},
    }


def all_names() -> list[str]:
    """Names of all models, in order."""
    return [model.model_name() for model in all_models()]


def _version() -> str:
    from ... import __version__

    return __version__


def _summary(verdicts: Sequence[Verdict], failures, seconds: float) -> str:
    counts = {
        outcome: sum(v.outcome == outcome for v in verdicts) for outcome in dict.fromkeys(v.outcome for v in verdicts)
    }
    told = ", ".join(f"{count} {_WORDS[outcome] if count > 1 else outcome}" for outcome, count in counts.items())
    told = told.replace("_", " ")
    odd = sum(not v.as_expected for v in verdicts)
    told_odd = f"; {odd} not as announced." if odd else "; all others as announced beforehand."
    models = len({v.theory for v in verdicts})
    return (
        f"{len(verdicts)} claims of {models} model{'s' * (models != 1)} judged in {seconds:.0f} s: {told or 'none'}"
        + (f"; {len(failures)} not judged" if failures else "")
        + ("; every one as announced beforehand." if not odd and not failures else told_odd)
    )


_WORDS = {
    "holds": "hold",
    "refuted": "refuted",
    "underpowered": "underpowered",
    "outside_domain": "outside their domain",
}


def _kept(ledger: Ledger, claim, theory: str, name: str):
    """The finished verdict and measurement of this very claim; one whose terms have changed since is judged anew."""
    finished = ledger.finished(theory, name)
    if finished is None:
        return None
    terms = finished[0].numbers.get("terms")
    return finished if terms == _terms(claim) else None


def _terms(claim) -> str:
    """What was agreed before judging, as a hash: everything about the claim but its code."""
    agreed = {name: plain(getattr(claim, name)) for name in _TERMS if hasattr(claim, name)}
    return hashlib.sha256(json.dumps([type(claim).__name__, agreed]).encode()).hexdigest()[:16]


_TERMS = (
    *("statement", "observable", "setup", "axis", "values", "seeds", "stochastic", "relative"),
    *("budget", "order", "tolerance", "window", "expected"),
)


def _model_record(theory: Theory, runs: Sequence[Run]) -> dict[str, Any]:
    return {
        "name": theory.model_name(),
        "title": theory.title(),
        "hyperparameters": {f.name: str(getattr(theory, f.name)) for f in fields(theory)},
        "system": theory.derive().to_dict(),
        "claims": [
            {
                "verdict": run.verdict.to_dict(),
                "prediction": run.prediction.to_dict(),
                "rival": run.rival.to_dict(),
                "measurement": run.measurement.to_dict(),
            }
            for run in runs
        ],
    }


class _Display:
    """Progress bars and verdict cards on a terminal; silent when not wanted."""

    def __init__(self, theories: Sequence[Theory], wanted: bool):
        self.wanted = wanted
        self.total = sum(claim.seconds for theory in theories for claim in theory.claims())
        self.done, self.share = 0.0, 0.0

    def __enter__(self):
        if self.wanted:
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

            columns = TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:3.0f}%")
            self.progress = Progress(*columns, TimeElapsedColumn(), console=Console(highlight=False), transient=True)
            self.progress.start()
            self.all = self.progress.add_task("report", total=self.total)
            self.one = self.progress.add_task("", total=1.0)
        return self

    def __exit__(self, *_):
        if self.wanted:
            self.progress.stop()

    def start(self, theory: str, claim: str, seconds: float) -> None:
        if self.wanted:
            self.done, self.share = self.done + self.share, seconds
            self.progress.update(self.all, completed=self.done)
            self.progress.update(self.one, description=f"{theory} / {claim}", completed=0.0)

    def advance(self, fraction: float) -> None:
        if self.wanted:
            self.progress.update(self.one, completed=fraction)
            self.progress.update(self.all, completed=self.done + fraction * self.share)

    def finish(self) -> None:
        self.advance(1.0)

    def say(self, text: str) -> None:
        if self.wanted:
            self.progress.console.print(text + "\n", markup=False, soft_wrap=True)
