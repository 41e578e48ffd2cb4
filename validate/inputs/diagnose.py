"""What the user's data are like, before any theory is asked: which laws may be believed on them, and how far.

Whiteness is the spread of the covariance eigenvalues, sd(lambda) / mean(lambda): zero exactly when inputs are white.

>>> rng = np.random.default_rng(0)
>>> card = diagnose(Dataset(rng.standard_normal((400, 5)), rng.standard_normal(400)), models=False)
>>> card.rank, card.duplicates, card.whiteness < 0.2, card.noise_floor[1] > 0.8
(5, 0, True, True)
"""

import textwrap
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from ...theory.dataset import Dataset
from ...theory.errors import LearningMechanicsError
from ...theory.measured_spectra.power_law_test import power_law_test
from ...theory.measured_spectra.spectrum import FIRST_RANK, LAST_SHARE
from ...theory.raw_data.intrinsic_dimension import intrinsic_dimension
from ...theory.raw_data.one_hot import OneHot, one_hot
from ..judging.verdict import plain
from .suitability import require_suitable
from .user_data import conflicts, duplicates

NUMERICAL_RANK = 1e-10  # relative to the largest singular value, as in the preparation "whiten"
NEIGHBOURS = 10
LARGEST_SEARCH = 4000  # rows used for nearest neighbours: quadratic in this number
NOTABLE = 1e-3  # distances below this fraction of their radius are not worth a word on the card
LARGEST_MANIFOLD = 1500  # rows used for the intrinsic dimension
LARGEST_TRIAL = 2000  # rows on which the models' assumptions are tried: some need a Gram matrix


@dataclass(frozen=True)
class Diagnosis:
    """Facts about one data set; `print` gives a card.

    `condition`      largest over smallest covariance eigenvalue on the numerical rank
    `whiteness`      sd over mean of the covariance eigenvalues (0: white)
    `kurtosis`       median |excess kurtosis| of the ten leading principal components (0: Gaussian), and the value that
                     chance alone gives to Gaussian data of this size
    `norm_moment`    E|x|^4 over its value for Gaussian data of this covariance (1: Gaussian); what one-pass SGD feels
    `resolved_modes` covariance modes whose variance on one half of the data is within a factor 2 on the other
    `decades`        log10 of the number of resolved modes
    `kernel_decades` log10 of the window of ranks [10, samples / 5] on which a kernel's spectrum is resolved
    `noise_floor`    fraction of target variance that no smooth function explains: extrapolated to zero distance, and
                     at the nearest neighbour (the truth lies between where neighbours are close)
    `power_law`      whether the covariance eigenvalues fall as a power law, or why that cannot be said
    `intrinsic`      lowest and highest intrinsic dimension over estimators and scales, or None (`no_intrinsic`: why)
    `symbols`        how inputs that are symbols look ("one-hot", ...), and how many there are; or None
    `zipf`           exponent of their frequencies, or None
    `models`         one mapping each: model, claim, applies, and the assumption's distance and radius or the reason
    """

    name: str
    samples: int
    dimension: int
    outputs: int
    targets: str
    rank: int
    condition: float
    whiteness: float
    kurtosis: tuple[float, float]
    norm_moment: float
    resolved_modes: int
    decades: float
    kernel_decades: float
    noise_floor: tuple[float, float]
    duplicates: int
    conflicts: int
    zipf: float | None
    power_law: str = ""
    intrinsic: tuple[float, float] | None = None
    no_intrinsic: str = ""
    symbols: tuple[str, int] | None = None
    models: tuple[Mapping[str, Any], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return plain(asdict(self))

    def __str__(self) -> str:
        extrapolated, nearest = self.noise_floor
        lines = [
            f"{self.name}: {self.samples} samples, {self.dimension} inputs, {self.outputs} target column(s)",
            f"  targets      {self.targets}",
            f"  rank         {self.rank} of {self.dimension}, condition number {self.condition:.3g}",
            f"  whiteness    {self.whiteness:.3g} from white",
            f"  Gaussianity  excess kurtosis {self.kurtosis[0]:.2f} (chance {self.kurtosis[1]:.2f}),"
            f" fourth moment of the norm {self.norm_moment:.2f} x Gaussian",
            f"  spectrum     {self.resolved_modes} modes resolved ({self.decades:.1f} decades);"
            f" kernel spectrum usable over {self.kernel_decades:.1f} decades",
            f"  power law    covariance eigenvalues: {self.power_law}",
            f"  manifold     {self._manifold()}",
            f"  noise floor  {extrapolated:.2f} to {nearest:.2f} of the target variance",
            f"  duplicates   {self.duplicates}" + (f", {self.conflicts} with other targets" if self.conflicts else ""),
        ]
        if self.symbols is not None:
            law = "" if self.zipf is None else f" with frequencies ~ rank^-{self.zipf:.2f} (Zipf)"
            kind = "inputs count symbols" if self.symbols[0] == "counts" else f"inputs are symbols ({self.symbols[0]})"
            lines.append(f"  symbols      {kind}: {self.symbols[1]}{law}")
        lines += _models_card(self.models)
        return "\n".join(lines)

    __repr__ = __str__

    def _manifold(self) -> str:
        if self.intrinsic is None:
            return f"no intrinsic dimension: {self.no_intrinsic}"
        return f"intrinsic dimension {self.intrinsic[0]:.1f} to {self.intrinsic[1]:.1f}"


def diagnose(data: Dataset, *, models: bool = True) -> Diagnosis:
    """The diagnosis of x (P, d), y (P, o). With `models`, every claim's assumptions are tried on at most 2000 rows.

    Reference for the noise floor: Stefansson, Koncar and Jones 1997 (the Gamma test).
    """
    x = data.x - data.x.mean(0)
    _, singular, right = np.linalg.svd(x, full_matrices=False)
    rank = int((singular > NUMERICAL_RANK * singular[0]).sum()) if singular[0] > 0 else 0
    eigenvalues = np.zeros(x.shape[1])
    eigenvalues[: len(singular)] = singular**2 / len(x)
    resolved = _resolved_modes(data)
    found = one_hot(data.x)
    intrinsic, no_intrinsic = _intrinsic(data.x)
    return Diagnosis(
        name=data.name,
        samples=len(data),
        dimension=x.shape[1],
        outputs=data.y.shape[1],
        targets=str(data.facts.get("targets", "as given")),
        rank=rank,
        condition=float((singular[0] / singular[rank - 1]) ** 2) if rank else float("inf"),
        whiteness=float(eigenvalues.std() / eigenvalues.mean()) if rank else float("inf"),
        kurtosis=_kurtosis(x @ right[: min(10, rank)].T),
        norm_moment=_norm_moment(x, eigenvalues),
        resolved_modes=resolved,
        decades=float(np.log10(max(resolved, 1))),
        kernel_decades=float(np.log10(max(len(data) / (FIRST_RANK * LAST_SHARE), 1.0))),
        noise_floor=_noise_floor(data),
        duplicates=duplicates(data),
        conflicts=len(conflicts(data)),
        zipf=_zipf(found),
        power_law=_power_law(singular[:rank] ** 2, len(x)),
        intrinsic=intrinsic,
        no_intrinsic=no_intrinsic,
        symbols=None if found is None else (found.kind, len(found.counts)),
        models=tuple(_models(data)) if models else (),
    )


def _models_card(models) -> list[str]:
    """Which claims of each model apply, and why the others do not; an assumption's distance where one was measured."""
    lines = ["  models"] if models else []
    for model in dict.fromkeys(entry["model"] for entry in models):
        mine = [entry for entry in models if entry["model"] == model]
        named = [
            entry["claim"]
            + (f" ({entry['why']})" if entry.get("distance", 0.0) > NOTABLE * entry.get("radius", 0.0) else "")
            for entry in mine
            if entry["applies"]
        ]
        first = f"    {model:<18} "
        lines += textwrap.wrap(
            ", ".join(named) or "no claim applies", 116, initial_indent=first, subsequent_indent=" " * 23
        )
        for entry in mine:
            if not entry["applies"]:
                text = f"not {entry['claim']}: {entry['why']}"
                lines += textwrap.wrap(text, 116, initial_indent=" " * 23, subsequent_indent=" " * 25)
    return lines


def _kurtosis(scores: np.ndarray) -> tuple[float, float]:
    if not scores.size:
        return float("nan"), float("nan")
    excess = (scores**4).mean(0) / (scores**2).mean(0) ** 2 - 3
    chance = 0.6745 * np.sqrt(24 / len(scores))  # median of |N(0, 24 / P)|
    return float(np.median(np.abs(excess))), float(chance)


def _norm_moment(x: np.ndarray, eigenvalues: np.ndarray) -> float:
    gaussian = eigenvalues.sum() ** 2 + 2 * (eigenvalues**2).sum()
    return float(((x**2).sum(1) ** 2).mean() / gaussian) if gaussian else float("nan")


def _resolved_modes(data: Dataset) -> int:
    """Modes of one half's covariance, in order, until one has twice too much or too little variance on the other."""
    rng = np.random.default_rng(0)
    if data.groups is None:
        first = np.isin(np.arange(len(data)), rng.permutation(len(data))[: len(data) // 2])
    else:
        names = np.unique(data.groups)
        first = np.isin(data.groups, rng.permutation(names)[: len(names) // 2])
    if min(first.sum(), (~first).sum()) < 2:
        return 0
    one, other = data.x[first] - data.x[first].mean(0), data.x[~first] - data.x[~first].mean(0)
    _, singular, right = np.linalg.svd(one, full_matrices=False)
    kept = singular > NUMERICAL_RANK * max(singular[0], 1e-300)
    here, there = singular[kept] ** 2 / len(one), ((other @ right[kept].T) ** 2).mean(0)
    wrong = np.flatnonzero((there > 2 * here) | (there < here / 2))
    return int(wrong[0]) if len(wrong) else int(kept.sum())


def _noise_floor(data: Dataset) -> tuple[float, float]:
    """Half mean squared target difference against mean squared distance, over 1 ... 10 nearest neighbours."""
    rows = np.random.default_rng(0).permutation(len(data))[:LARGEST_SEARCH]
    x, y = data.x[rows], data.y[rows]
    variance = y.var(0).sum()
    neighbours = min(NEIGHBOURS, len(x) - 1)
    if neighbours < 2 or variance == 0:
        return float("nan"), float("nan")
    squares = (x**2).sum(1)
    distance = np.maximum(squares[:, None] + squares - 2 * x @ x.T, 0)
    np.fill_diagonal(distance, np.inf)
    nearest = np.argpartition(distance, neighbours - 1, axis=1)[:, :neighbours]
    nearest = np.take_along_axis(nearest, np.take_along_axis(distance, nearest, 1).argsort(1), 1)
    delta = np.take_along_axis(distance, nearest, 1).mean(0)
    gamma = ((y[nearest] - y[:, None]) ** 2).sum(2).mean(0) / 2
    slope, intercept = np.polyfit(delta, gamma, 1) if np.ptp(delta) > 0 else (0.0, gamma[0])
    floor = float(np.clip(intercept / variance, 0, 1)) if slope >= 0 else float(min(gamma[0] / variance, 1))
    return floor, float(min(gamma[0] / variance, 1))


def _zipf(found: OneHot | None) -> float | None:
    return None if found is None or found.exponent is None else found.exponent.value


def _power_law(eigenvalues: np.ndarray, samples: int) -> str:
    """The verdict on the covariance eigenvalues, with the local exponent where there is one."""
    try:
        found = power_law_test(eigenvalues, samples)
    except LearningMechanicsError as error:
        return f"cannot tell ({error.found})"
    low, high = found.window
    return f"{found.verdict}, exponent {found.exponent.value:.2f} over ranks {low:.0f} to {high:.0f}"


def _intrinsic(x: np.ndarray) -> tuple[tuple[float, float] | None, str]:
    rows = np.random.default_rng(0).permutation(len(x))[:LARGEST_MANIFOLD]
    try:
        found = intrinsic_dimension(x[rows])
    except LearningMechanicsError as error:
        return None, error.found
    return (found.low, found.high), ""


def _models(data: Dataset):
    """Every claim that takes the user's data, with the worst of its law's assumption distances on a few rows."""
    from ...theory.model import models
    from ..judging.check import require_convergence

    rows = np.sort(np.random.default_rng(0).permutation(len(data))[:LARGEST_TRIAL])
    few = replace(
        data,
        x=data.x[rows],
        y=data.y[rows],
        groups=None if data.groups is None else data.groups[rows],
        arrays={name: array[rows] for name, array in data.arrays.items()},
    )
    for model in models():
        for claim in model().claims():
            if not isinstance(claim.setup.data, str):
                continue  # a claim about stated data or a distribution, not about the user's
            entry = {"model": model.model_name(), "claim": claim.name}
            try:
                require_suitable(data, claim)
                instance = claim.settings()[0].draw(0, few)
                require_convergence(claim, [[instance]])
                if not claim.law.assumptions:  # nothing to measure, so nothing to bind
                    yield {**entry, "applies": True, "why": "it assumes nothing about data"}
                    continue
                arrays = {**instance.arrays, **instance.moments(), **claim.law.bind(instance)}
                tried = [(a.name, float(a.distance(arrays)), float(a.radius)) for a in claim.law.assumptions]
            except LearningMechanicsError as error:
                yield {**entry, "applies": False, "why": f"{error.found}; {error.remedy}"}
                continue
            except (ValueError, KeyError, IndexError) as error:  # one model's gap must not cost the others their line
                why = f"not prepared for data of this shape ({type(error).__name__}: {error})"
                yield {**entry, "applies": False, "why": why}
                continue
            name, distance, radius = max(tried, key=lambda found: found[1] / found[2] if found[2] else found[1])
            yield {
                **entry,
                "applies": distance <= radius,
                "why": f"{name} at distance {distance:.2g} of at most {radius:.2g}",
                "assumption": name,
                "distance": distance,
                "radius": radius,
            }
