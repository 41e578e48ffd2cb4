"""The report: all inside one page, all numbers in one JSON, nothing lost by an interruption, nothing overwritten."""

import ast
import json
import re
import sys
from dataclasses import dataclass, replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from learning_mechanics.cli import main
from learning_mechanics.solvers.prediction import Prediction
from learning_mechanics.theory.claims import Equals, Law
from learning_mechanics.theory.errors import BadData, UnknownName, WouldOverwrite
from learning_mechanics.theory.model import Theory, models, parameter
from learning_mechanics.theory.setup import Setup
from learning_mechanics.theory.symbols import positive
from learning_mechanics.theory.system import Flow
from learning_mechanics.validate.experiments.experiment import Measurement
from learning_mechanics.validate.judging.check import Run
from learning_mechanics.validate.judging.judge import judge
from learning_mechanics.validate.judging.verdict import Verdict
from learning_mechanics.validate.reporting import cards
from learning_mechanics.validate.reporting import report as module
from learning_mechanics.validate.reporting.equations import formula, latex, result
from learning_mechanics.validate.reporting.figures.style import panels, style
from learning_mechanics.validate.reporting.plot import figure
from learning_mechanics.validate.reporting.report import report
from learning_mechanics.validate.reporting.typesetting import _addends, text_latex
from learning_mechanics.validate.reporting.verdict_table import MARKERS, by_model, markdown, read_verdicts

pytestmark = pytest.mark.short
ROOT = Path(__file__).resolve().parents[1]
a, s = positive("a s")


def decay():
    flow = Flow((a,), (-s * a,), observables={"loss": a**2 / 2})
    return replace(flow, trail=flow.trail.then("gradient <flow>", -s * a, reference="A & B 2020, arXiv:1234.5678"))


@dataclass(frozen=True)
class Decaying(Theory):
    """A variable that <decays>."""

    rate: float = parameter(1.0, "how fast")

    def derive(self):
        return decay()

    def claims(self):
        def claim(name, **fields):
            return Equals(
                name, f"{name} falls & stays", "loss", Setup(steps=10), Law("law", decay, dict, "loss"),
                Law("no decay", decay, dict, "loss"), relative="scale", budget={"solver": 1e-6}, **fields,
            )  # fmt: skip

        return claim("first"), claim("second"), claim("third", expected="refuted")


class Stage:
    """Stands in for predict and train: exact data, except that the third claim's is 10 % off."""

    def __init__(self, monkeypatch):
        self.calls: list[str] = []
        self.fail: dict[str, BaseException] = {}
        self.off = {"third": 1.1}
        self.drawn = 0
        monkeypatch.setattr(module, "run_claim", self.run)
        monkeypatch.setattr(cards, "figure", self.draw)

    def draw(self, *run):
        """Figures are tested elsewhere and cost half a second each; the first is real."""
        self.drawn += 1
        if self.drawn == 1:
            return figure(*run)
        with style():
            return panels(1)[0]

    def run(self, theory, claim, *, seed, device, progress, ledger):
        self.calls.append(claim.name)
        steps = np.arange(11.0)[None]
        curve = np.exp(-0.3 * steps - 0.01 * seed).reshape(1, 1, -1, 1)
        common = {"theory": theory.model_name(), "claim": claim.name, "observable": "loss", "abscissa": steps}
        law = Prediction(law="law", values=curve, references=("C 2021",), **common)
        rival = Prediction(law="no decay", values=np.ones_like(curve), **common)
        ledger.register(law, rival)
        if claim.name in self.fail:
            raise self.fail[claim.name]
        progress(0.5)
        measured = curve * self.off.get(claim.name, 1 + 1e-9)
        measurement = Measurement(measured, steps, "step", "loss", (seed,), "cpu", "float64", 0.1)
        verdict = judge(claim, law, rival, measurement, theory=theory.model_name())
        return Run(theory.model_name(), claim, law, rival, measurement, verdict)


@pytest.fixture
def stage(monkeypatch):
    return Stage(monkeypatch)


class Page(HTMLParser):
    """Collects what a browser would fetch, and checks that tags are balanced."""

    def __init__(self, text):
        super().__init__()
        self.fetched, self.images, self.open, self.ids, self.links = [], [], [], set(), []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.ids.add(given.get("id"))
        if tag == "a":
            self.links.append(given["href"])
        if tag == "img":
            self.images.append(given["src"])
        if tag in ("script", "link", "iframe", "object") or "url(" in given.get("style", ""):
            self.fetched.append(tag)
        if tag not in ("meta", "img", "br", "path"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag in self.open[-1:]:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, tag


def test_one_page_and_one_json_with_everything(stage, tmp_path, capsys):
    made = report(tmp_path / "r", models=[Decaying()], progress=True)
    assert made.status == 0 and [v.outcome for v in made.verdicts] == ["holds", "holds", "refuted"]
    printed = capsys.readouterr().out
    assert "HOLDS  decaying / first" in printed and "REFUTED  decaying / third" in printed
    text = made.html.read_text()
    page = Page(text)
    assert not page.fetched and "http" not in text.replace("http://www.w3.org", "")
    assert len(page.images) == 3 and all(image.startswith("data:image/svg+xml,") for image in page.images)
    inside = [link[1:] for link in page.links if link.startswith("#")]
    assert (
        set(inside) == {"decaying", "decaying-first", "decaying-second", "decaying-third"} and set(inside) <= page.ids
    )
    # the whole derivation lies beside the page
    (beside,) = (link for link in page.links if not link.startswith("#"))
    derivation = Page((made.html.parent / beside).read_text())
    assert beside == "derivations/decaying.html" and all(link[1:] in derivation.ids for link in derivation.links)
    for needle in (
        "A variable that &lt;decays&gt;",
        "gradient &lt;flow&gt;",
        "arXiv:1234.5678",
        "C 2021",
        "rate = 1.0",
    ):
        assert needle in text
    assert all(verdict.forecast_hash in text and len(verdict.forecast_hash) == 64 for verdict in made.verdicts)
    assert "<svg" in text and "@LABEL@" not in text
    content = json.loads(made.json.read_text(), parse_constant=pytest.fail)
    claims = content["models"][0]["claims"]
    assert [c["verdict"]["claim"] for c in claims] == ["first", "second", "third"]
    for claim in claims:
        assert claim["verdict"]["forecast_hash"] == claim["prediction"]["hash"]
        assert {"seeds", "device", "dtype", "matmul_precision", "versions", "values"} <= claim["measurement"].keys()
        assert Prediction.from_dict(claim["prediction"]).hash == claim["prediction"]["hash"]
    assert {"seed", "version", "device", "jax", "numpy", "python"} <= content["environment"].keys()
    assert content["models"][0]["system"]["trail"][0]["rule"] == "gradient <flow>"


def test_a_claim_that_turns_out_otherwise_gives_status_one(stage, tmp_path):
    stage.off["second"] = 1.2
    made = report(tmp_path, models=[Decaying()], progress=False)
    assert made.status == 1 and "decaying / second: refuted, announced holds" in str(made)
    assert "unexpected" in made.html.read_text()


def test_an_interrupted_run_resumes(stage, tmp_path, capsys):
    stage.fail["second"] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        report(tmp_path, models=[Decaying()])
    assert "1 verdicts are kept" in capsys.readouterr().out.replace("\n", " ")
    assert not (tmp_path / "report.html").exists() and len(list(tmp_path.glob("verdicts/*.json"))) == 1
    stage.fail.clear()
    made = report(tmp_path, models=[Decaying()], progress=False)
    assert stage.calls == ["first", "second", "second", "third"]
    assert made.resumed == 1 and made.status == 0
    # resumed or not, the numbers are the same
    fresh = report(tmp_path / "fresh", models=[Decaying()], progress=False)
    pages = [json.loads(r.json.read_text())["models"] for r in (made, fresh)]
    assert pages[0] == pages[1]


def test_a_claim_whose_terms_changed_is_judged_anew(stage, tmp_path, monkeypatch):
    report(tmp_path, models=[Decaying()], progress=False).html.unlink()
    terms = Decaying().claims()
    monkeypatch.setattr(Decaying, "claims", lambda self: (replace(terms[0], budget={"solver": 1e-12}), *terms[1:]))
    made = report(tmp_path, models=[Decaying()], progress=False)
    assert made.resumed == 2 and made.verdicts[0].outcome == "refuted" and made.verdicts[0].budget["total"] == 1e-12


def test_terms_cover_the_setting():
    claim = Decaying().claims()[0]
    moved = replace(claim, setup=claim.setup.at(learning_rate=0.2))
    assert module._terms(claim) == module._terms(Decaying().claims()[0]) != module._terms(moved)


def test_nothing_is_overwritten_without_force(stage, tmp_path):
    made = report(tmp_path, models=[Decaying()], progress=False)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(WouldOverwrite, match="report.html exists"):
        report(tmp_path, models=[Decaying()], progress=False)
    made.html.unlink()
    with pytest.raises(WouldOverwrite, match="seed 0, not 1"):
        report(tmp_path, models=[Decaying()], seed=1, progress=False)
    assert {p: p.read_bytes() for p in before if p.exists()} == {p: t for p, t in before.items() if p.exists()}
    assert report(tmp_path, models=[Decaying()], seed=1, progress=False, force=True).verdicts[0].seeds == (1,)


def test_a_claim_that_cannot_be_judged_is_said_and_the_rest_goes_on(stage, tmp_path):
    stage.fail["first"] = BadData("column 3 holds <NaN>", where="x", remedy="drop it")
    made = report(tmp_path, models=[Decaying()], progress=False)
    assert made.status == 1 and len(made.verdicts) == 2
    assert "column 3 holds &lt;NaN&gt;" in made.html.read_text() and "not judged" in str(made)


def test_an_unknown_model_is_named(tmp_path):
    with pytest.raises(UnknownName, match="did you mean 'deep-linear'"):
        report(tmp_path / "r", models=["deep-liner"], progress=False)
    assert not (tmp_path / "r").exists()


def test_equations_are_outlines_of_the_right_size():
    short, long = formula("x"), formula(latex(sum(positive("x1:9"))))
    width = [float(re.search(r"width:([\d.]+)em", text)[1]) for text in (short, long)]
    assert width[1] > 5 * width[0] > 1
    assert "&lt;" in formula("a < b", plain="a < b")


def test_the_line_of_a_fraction_lies_between_its_parts():
    """Letters are placed from the baseline up, SVG counts down: a over b is a, line, b from top to bottom."""
    made = formula(r"\dfrac{a}{b}")
    above, below = (float(y) for y in re.findall(r'transform="translate\([-\d.]+ ([-\d.]+)\)', made))
    left, top, right, bottom = (float(v) for v in re.search(r'd="M(\S+) (\S+)H(\S+)V([-\d.]+)H', made).groups())
    assert above < top < bottom < below and 0 < bottom - top < 1 and 3 < right - left < 15
    box = [float(v) for v in re.search('viewBox="([^"]+)"', made)[1].split()]
    assert box[0] < left and right < box[0] + box[2] and box[1] < above and below < box[1] + box[3]


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_every_derived_matrix_equation_can_be_set(depth):
    from learning_mechanics.theory.architecture.network import chain
    from learning_mechanics.theory.derivation.derive import network_flow
    from learning_mechanics.validate.reporting.equations import rows

    made = [formula(*row) for row in rows(network_flow(chain("input", *["width"] * (depth - 1), "output")))]
    assert len(made) >= depth and all(text.startswith("<svg") for text in made)


def test_texts_of_a_trail_are_set_as_formulas():
    text = "W1' = W2.T*(Sigma_yx - W2*W1); W2' = (Sigma_yx - W2*W1)*W1.T"
    assert result(text).count("<svg") == 2
    assert "<svg" not in result("x_j ~ N(0, lambda_j), z <- z - eta g") and "λ<sub>j</sub>" in result("x ~ lambda_j")
    assert "&lt;script&gt;" in result("<script> is text") and text_latex("__import__('os').system('x')") is None


@pytest.mark.parametrize("seed", range(20))
def test_moving_terms_keeps_the_value(seed):
    """What is subtracted goes last; the signed terms still add up to the expression."""
    random = np.random.default_rng(seed)
    atoms = [*"abcd", "2", "(a - b)", "-c", "(-d + a)"]
    factors = ["*".join(random.choice(atoms, size=random.integers(1, 4))) for _ in range(4)]
    text = (
        "-" * int(random.integers(2)) + "".join(f + random.choice([" + ", " - "]) for f in factors[:-1]) + factors[-1]
    )
    values = dict(zip("abcd", random.normal(size=4), strict=True))
    terms = _addends(ast.parse(text, mode="eval").body)
    total = sum(
        (-1 if minus else 1) * eval(ast.unparse(ast.fix_missing_locations(term)), values) for minus, term in terms
    )
    assert total == pytest.approx(eval(text, dict(values)), rel=1e-12)


def test_long_equations_are_broken_at_their_signs():
    terms = positive("x1:40")
    made = formula("a = " + latex(sum(terms[:20]) - sum(terms[20:])))
    assert made.count("<svg") == len(terms) and len(re.findall('aria-label="[^"]+"', made)) == 1
    assert formula("a = " + latex(terms[0] - terms[1])).count("<svg") == 1


@pytest.mark.parametrize("document, table", [("README.md", by_model), ("docs/verdicts.md", markdown)])
def test_the_tables_in_the_documents_are_those_the_tool_makes(document, table):
    folders = [
        path for path in (ROOT / "tests/reference/cpu", ROOT / "tests/reference/gpu") if any(path.glob("*.json"))
    ]
    made = table([read_verdicts(folder) for folder in folders])
    assert MARKERS.search((ROOT / document).read_text(encoding="utf-8"))[2].strip() == made.strip()


def test_the_table_names_every_claim_there_is():
    judged = {(verdict.theory, verdict.claim) for verdict in read_verdicts(ROOT / "tests/reference/cpu")}
    assert judged == {(model.model_name(), claim.name) for model in models() for claim in model().claims()}


def test_a_table_is_placed_between_the_markers_only(stage, tmp_path, capsys):
    made = report(tmp_path / "r", models=[Decaying()], progress=False)
    document = tmp_path / "doc.md"
    document.write_text("before\n<!-- verdicts: here -->\n<!-- end of verdicts -->\nafter\n")
    command = ["list", "--report", str(tmp_path / "r"), "--write", str(document)]
    assert main(command) == 0
    text = document.read_text()
    assert text.startswith("before\n<!-- verdicts: here -->\n") and text.endswith("<!-- end of verdicts -->\nafter\n")
    assert "| **third**: third falls &amp; stays | ✗ refuted |" in text and "`decaying`" in text
    assert main(command) == 0 and document.read_text() == text  # the same table is no change
    changed = text.replace("refuted", "holds")
    document.write_text(changed)
    assert main(command) == 2 and document.read_text() == changed and "--force" in capsys.readouterr().err
    assert main([*command, "--force"]) == 0 and document.read_text() == text
    document.write_text("no place")
    assert main(command) == 2 and document.read_text() == "no place"
    # the ledger, the report and a file of verdicts say the same
    capsys.readouterr()
    assert main(["list", "--report", str(made.json), "--format", "verdicts"]) == 0
    (tmp_path / "verdicts.json").write_text(capsys.readouterr().out)
    tables = [markdown([read_verdicts(p)]) for p in (tmp_path / "r", made.json, tmp_path / "verdicts.json")]
    assert tables[0] == tables[1] == tables[2]


def test_a_second_report_adds_a_column():
    first = Verdict("m", "c", "It falls.", "holds", bias=0.01, device="cpu: cpu", seconds=2.0)
    second = replace(first, device="gpu: big", outcome="refuted", seconds=1.0)
    *_, row = markdown([[first, replace(first, claim="d")], [second]]).splitlines()[:4]
    assert row == "| **c**: It falls | ✓ holds | **✗ refuted**, announced holds | 0.01 / – | – | – | 0.0 | 2.0 | 1.0 |"


@pytest.mark.parametrize("content", ["{", "[]", "3", '{"verdict": {"theory": 1}}'])
def test_what_holds_no_verdicts_is_one_line(content, tmp_path, capsys):
    path = tmp_path / "x.json"
    path.write_text(content)
    assert main(["list", "--report", str(path), "--format", "markdown"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_the_layers_of_a_network_keep_their_columns():
    made = result("dense1       Theta <- 2 (Theta + K)\nactivation2  K <- V(K),  phi = relu")
    assert made.startswith("<pre>") and made.count("\n") == 1
    first, second = made.removeprefix("<pre>").split("\n")
    assert first == "dense1       Θ ← 2 (Θ + K)" and second.startswith("activation2  K ← V(K),  φ")


def test_symbols_at_the_head_of_a_rule_keep_their_case():
    from learning_mechanics.validate.reporting.derivation_page import _rule

    found = [_rule(rule) for rule in ("f = alpha z", "n -> infinity", "gamma = 0", "two inputs of equal variance")]
    assert found == ["f = α z", "n → infinity", "γ = 0", "Two inputs of equal variance"]


@pytest.mark.instant
def test_a_claim_that_states_its_time_is_said_to_be_trained():
    from learning_mechanics.theory.model import find
    from learning_mechanics.validate.reporting.cards import _experiment

    lazy, kernels = (find(name)() for name in ("lazy-to-rich", "infinite-width-kernels"))
    assert _experiment(lazy.claim("whole_range")).startswith("full-batch training on digits")
    assert _experiment(kernels.claim("tangent_kernel")).startswith("networks at the start on four directions")


@pytest.mark.short
def test_derivations_are_written_meanwhile_and_whatever_is_missing_afterwards(tmp_path, monkeypatch):
    """The process writes the usual models; others, and all if it fails, are written at the end: the same pages."""
    from learning_mechanics.theory.model import find
    from learning_mechanics.validate.reporting import derivation_page as pages

    theories = [find("orthogonal-descent")()]
    made = {}
    for name, many, python in (("child", 1, sys.executable), ("broken", 1, "/nowhere/python"), ("alone", 9, "")):
        monkeypatch.setattr(pages, "MANY", many)
        monkeypatch.setattr(pages.sys, "executable", python)
        with pages.DerivationPages(theories, tmp_path / name / "derivations") as work:
            assert (work.process is not None) == (name == "child")
            made[name] = work.finish()["orthogonal-descent"]
            assert work.process is None or work.process.returncode == 0
    texts = {(tmp_path / name / page).read_text() for name, page in made.items()}
    assert len(texts) == 1 and "<svg" in texts.pop()
