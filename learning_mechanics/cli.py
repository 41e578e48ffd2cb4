"""The command line: what may be typed, and what happens when it cannot be done.

Every explained failure is one line on the standard error and exit status 2; an interruption is 130 and says how to go
on. This module imports nothing heavy, so that `--help` answers at once; the work is done in `commands`.
"""

import argparse
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from . import __version__, fit_commands
from .theory.errors import LearningMechanicsError, UnknownName

RESUME = {
    "report": "finished verdicts are kept: the same command goes on where it stopped",
    "validate": "with --output finished verdicts are kept and the same command goes on; without, name what is left",
}
EXAMPLES = {
    "": ("derive deep-linear --depth 3", "diagnose data.npz", "predict data.csv --target price", "report"),
    "list": ("list", "list --json"),
    "derive": (
        "derive deep-linear --depth 3",
        "derive sgd-least-squares --format latex",
        "derive deep-linear --depth 4 --output deep_linear.py",
        "derive kernel-regression --output kernel.html",
    ),
    "reduce": (
        "reduce deep-linear data.npz --depth 3",
        "reduce deep-linear digits --prepare centre,whiten --scale 0.001 --width 100",
        "reduce deep-linear runs.csv --target price --start weights.npz",
    ),
    "diagnose": ("diagnose data.npz", "diagnose runs.csv --target price --inputs height,weight", "diagnose digits"),
    "predict": (
        "predict data.npz --kernel ntk-relu --depth 4",
        'predict data.npz --network "dense(1.5, 0.1), gelu, layer_norm, dense" --kernel nngp',
        "predict x.npy --target y.npy --ridge 0.1 --sizes 50,100,200,400",
        "predict runs.csv --target price --plot curve.png --output forecast.json",
        "predict digits_parity --register forecasts",
        "predict digits_parity --learner lazy-relu --axis steps --register forecasts",
    ),
    "fit": fit_commands.EXAMPLES,
    "network": (
        'network "dense(1.5, 0.1), erf, dense"',
        'network "dense(2**0.5), relu, dense" --dimension 10',
        'network "dense(1.2, 0.3), tanh" --repeated',
    ),
    "validate": (
        "validate deep-linear --dry-run",
        "validate deep-linear balance_drift gram_recursion",
        "validate edge-of-stability --output verdicts.json",
        "validate --against forecasts",
    ),
    "check": (
        "check deep-linear balance_drift",
        "check deep-linear aligned_recursion --data data.npz --set learning_rate=0.05",
        "check deep-linear balance_drift --data data.npz --log run.csv --start start.npz --set width=12",
    ),
    "report": ("report", "report --models deep-linear --output drafts", "report --device gpu"),
    "cite": ("cite deep-linear",),
}
FAULT = 70  # exit status of a fault in the program itself, as in sysexits.h
TRACEBACK = "LEARNING_MECHANICS_TRACEBACK"  # set it to see where such a fault happened


class UsageError(LearningMechanicsError):
    """The command line itself cannot be understood."""


class Parser(argparse.ArgumentParser):
    """As argparse, but a mistake is one line and a misspelt command or choice names the nearest one."""

    def error(self, message: str) -> NoReturn:
        if message.endswith("required: command"):
            message = f"no command given: one of {', '.join(name for name in EXAMPLES if name)}"
        raise UsageError(message.replace("\n", " "), remedy=f"see {self.prog} --help")

    def _check_value(self, action: argparse.Action, value) -> None:
        if action.choices is not None and value not in action.choices:
            kind = action.option_strings[0].lstrip("-") if action.option_strings else action.dest
            raise UnknownName.among(str(value), map(str, action.choices), kind=kind)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and give its exit status: 0 done, 1 a claim did not turn out as expected, 2 explained failure.

    >>> main(["derive", "deep-linear", "--format", "latx"])
    2
    """
    command = ""
    shown, warnings.formatwarning = warnings.formatwarning, _one_line
    try:
        arguments, extra = parser().parse_known_args(argv)
        command = arguments.command
        arguments.hyperparameters = _pairs(extra, arguments)
        _cache_compilations()
        _repeat_on_accelerators()
        from . import commands

        return commands.COMMANDS[command](arguments)
    except LearningMechanicsError as error:
        return _refuse(str(error))
    except KeyboardInterrupt:
        print("learning-mechanics: interrupted; " + RESUME.get(command, "nothing was written"), file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of a pipe has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except SystemExit as stop:  # --help and --version
        return int(stop.code or 0)
    except OSError as error:
        return _refuse(
            f"{error.filename or 'file system'}: {error.strerror or error}; check the path and its permissions"
        )
    except MemoryError as error:
        return _refuse(f"not enough memory ({str(error) or 'unknown size'}); give fewer rows or smaller sizes")
    except Exception as error:
        if os.environ.get(TRACEBACK):
            raise
        found = f"{type(error).__name__}: {error}"
        _refuse(f"a fault of this program, not of your input ({found}); set {TRACEBACK}=1 to see where and report it")
        return FAULT
    finally:
        warnings.formatwarning = shown


def _refuse(text: str) -> int:
    print("learning-mechanics: " + " ".join(text.split()), file=sys.stderr)
    return 2


def _one_line(message, category, filename, lineno, line=None) -> str:
    """A warning without the place in the source that raised it."""
    return "warning: " + " ".join(str(message).split()) + "\n"


def parser() -> Parser:
    """The whole grammar. Hyperparameters of a model are options too; they are known only once the model is."""
    top = Parser(
        prog="learning-mechanics",
        description="Derive, predict and validate the dynamics of learning.",
        epilog=_examples(""),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    top.add_argument("--version", action="version", version=f"learning-mechanics {__version__}")
    commands = top.add_subparsers(dest="command", metavar="command", required=True, parser_class=Parser)

    def command(name: str, text: str) -> Parser:
        made = commands.add_parser(
            name,
            help=text,
            description=text[0].upper() + text[1:] + ".",
            epilog=_examples(name),
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        made.add_argument("--json", action="store_true", help="print JSON and nothing else")
        return made

    listed = command("list", "models, their claims and the last verdicts")
    listed.add_argument("--report", type=Path, nargs="+", metavar="PATH", help="reports to read (default: the last)")
    listed.add_argument("--format", choices=("text", "markdown", "verdicts"), default="text", help="default: text")
    listed.add_argument("--write", type=Path, metavar="FILE", help="put the Markdown table between this file's markers")
    listed.add_argument("--force", action="store_true", help="replace the table that stands there")

    derive = command("derive", "the whole derivation of a model, every step with its reference and numerical check")
    derive.add_argument("model", help="a name from `list`; its hyperparameters are options: --depth 3")
    derive.add_argument(
        "--format",
        choices=("text", "html", "latex", "json", "python"),
        help="html: one page; python: a module that runs without this package (default: as --output ends, else text)",
    )
    derive.add_argument(
        "--output", type=Path, metavar="FILE", help="write it into this .txt, .html, .tex, .json or .py"
    )
    derive.add_argument("--force", action="store_true", help="overwrite a file that exists")

    reduce = command("reduce", "which reductions of a linear network hold for your data and weights, and how far")
    reduce.add_argument("model", help="deep-linear, or another model of linear networks; its options: --depth 3")
    _data_options(reduce)
    reduce.add_argument("--start", type=Path, metavar="FILE", help="your initial weights: .npz with arrays W1, W2, ...")
    reduce.add_argument("--initialisation", default="normal", metavar="NAME", help="how to draw them (default: normal)")
    reduce.add_argument("--scale", type=float, default=0.01, metavar="S", help="and how large (default: 0.01)")
    reduce.add_argument("--width", type=int, default=64, metavar="N", help="units of a hidden layer (default: 64)")
    reduce.add_argument("--prepare", metavar="NAME,..", help="preparations of the data first, say centre,whiten")
    reduce.add_argument("--seed", type=_seed, default=0, metavar="N", help="of the weights (default: 0)")

    diagnose = command("diagnose", "what a data set is like and which models apply to it")
    _data_options(diagnose)

    predict = command("predict", "learning curve and exponents of a kernel on a data set, without training")
    _data_options(predict)
    predict.add_argument(
        "--kernel",
        default="ntk-relu",
        metavar="NAME",
        help="ntk- or nngp- with relu, erf, gelu, tanh, ..., or rbf, laplace, linear (default: ntk-relu)",
    )
    predict.add_argument(
        "--depth", type=int, default=2, metavar="L", help="weight layers of the network behind it (default: 2)"
    )
    predict.add_argument(
        "--network", metavar="TEXT", help='the kernel of this network instead, as in "dense(1.5, 0.1), relu, dense"'
    )
    predict.add_argument("--ridge", type=_ridge, default=0.0, metavar="R", help="ridge in K + ridge I (default: 0)")
    predict.add_argument(
        "--sizes", type=_sizes, metavar="N,N,..", help="sample sizes, say 50,100,200 (default: the usable window)"
    )
    predict.add_argument("--plot", type=Path, metavar="FILE", help="draw the forecast into this .png, .svg or .pdf")
    predict.add_argument("--output", type=Path, metavar="FILE", help="write the forecast as JSON into this file")
    predict.add_argument(
        "--register",
        type=Path,
        metavar="FOLDER",
        help="write the forecast down there for good, dated and hashed; half of the rows are kept for the runs",
    )
    predict.add_argument(
        "--learner",
        metavar="NAME",
        help="what is run later on a task, say relu-3, neurons-relu, lazy-relu or rich-relu",
    )
    predict.add_argument(
        "--axis", choices=("samples", "parameters", "steps"), help="of --register (default: its first)"
    )
    _run_options(predict, device=False)

    fit_commands.add_options(
        command("fit", "the law of loss over model and data size of finished runs, and its frontier")
    )

    network = command("network", "kernels of a network of infinite width: recursion, formula, spectrum, phase")
    network.add_argument("network", metavar="TEXT", help='parts in order, as in "dense(1.5, 0.1), relu, dense"')
    network.add_argument("--dimension", type=int, metavar="D", help="spectrum on the unit sphere of R^D")
    network.add_argument("--levels", type=int, default=20, metavar="K", help="levels of it (default: 20)")
    network.add_argument("--kernel", choices=("ntk", "nngp"), default="ntk", help="whose spectrum (default: ntk)")
    network.add_argument("--repeated", action="store_true", help="signal propagation where these parts repeat")

    validate = command("validate", "train, measure and judge the claims of a model, or settle registered forecasts")
    validate.add_argument("model", nargs="?", help="a name from `list`; its hyperparameters are options: --depth 3")
    validate.add_argument("claims", nargs="*", metavar="claim", help="claims to judge (default: all)")
    validate.add_argument("--dry-run", action="store_true", help="say the seconds and bytes it would take")
    validate.add_argument(
        "--output", type=Path, metavar="FILE", help="write predictions and verdicts as JSON into this file"
    )
    validate.add_argument("--plot", type=Path, metavar="FILE", help="draw one claim into this .png, .svg or .pdf")
    validate.add_argument("--against", type=Path, metavar="FOLDER", help="settle the forecasts registered there")
    validate.add_argument(
        "--budget", type=float, default=60.0, metavar="S", help="seconds for all of them together (default: 60)"
    )
    validate.add_argument("--shown", type=_sizes, metavar="N,N,..", help="components to draw, say 1,2,3 (default: six)")
    _run_options(validate)

    check = command("check", "judge one claim, on its own data, on yours, or on your training log")
    check.add_argument("model", help="a name from `list`; its hyperparameters are options: --depth 3")
    check.add_argument("claim", help="one of its claims, from `list`")
    check.add_argument("--data", dest="file", type=Path, metavar="FILE", help="your data: .npz, .npy, .csv or .parquet")
    check.add_argument("--log", type=Path, metavar="FILE", help="your training log: .csv, .json or .jsonl")
    check.add_argument("--start", type=Path, metavar="FILE", help="your initial weights: .npz with arrays W1, W2, ...")
    check.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="move the setting: learning_rate=0.1, width=64"
    )
    _reading_options(check)
    _run_options(check, writes=False)

    report = command("report", "the main job: derive, predict, train and judge everything on real data")
    report.add_argument(
        "--output",
        type=Path,
        default=Path("learning-mechanics-report"),
        metavar="FOLDER",
        help="default: learning-mechanics-report",
    )
    report.add_argument("--models", nargs="+", metavar="MODEL", help="only these models")
    _run_options(report)

    cite = command("cite", "BibTeX of the references a model uses")
    cite.add_argument("model", help="a name from `list`")
    return top


def _data_options(command: Parser) -> None:
    command.add_argument("file", type=Path, help=".npz (x and y), .npy, .csv or .parquet; or a built-in name: digits")
    _reading_options(command)


def _reading_options(command: Parser) -> None:
    command.add_argument("--target", metavar="NAME", help="column, array or .npy file to predict (default: y)")
    command.add_argument(
        "--inputs",
        type=lambda text: text.split(","),
        metavar="NAME,..",
        help="input columns, say height,weight (default: all others)",
    )
    task = command.add_mutually_exclusive_group()
    task.add_argument("--regression", action="store_true", default=None, help="integer targets are numbers")
    task.add_argument("--labels", dest="regression", action="store_false", help="integer targets are labels")


def _run_options(command: Parser, device: bool = True, writes: bool = True) -> None:
    if device:
        command.add_argument("--device", choices=("cpu", "gpu", "tpu"), help="default: what JAX finds")
    command.add_argument("--seed", type=_seed, default=0, metavar="N", help="of everything random (default: 0)")
    if writes:
        command.add_argument("--force", action="store_true", help="overwrite files that exist")


def _examples(command: str) -> str:
    return "examples:\n" + "\n".join(f"  learning-mechanics {line}" for line in EXAMPLES[command])


def _seed(text: str) -> int:
    """A whole number from 0 to 2**32 - 1."""
    if not text.isdecimal() or int(text) >= 2**32:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 0 to {2**32 - 1}")
    return int(text)


def _ridge(text: str) -> float:
    """A finite number that is not negative."""
    try:
        ridge = float(text)
    except ValueError:
        ridge = -1.0
    if not 0 <= ridge < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of at least 0")
    return ridge


def _sizes(text: str) -> tuple[int, ...]:
    """Strictly increasing sample sizes from a list with commas."""
    try:
        sizes = tuple(int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of whole numbers such as 50,100,200") from None
    if min(sizes) < 1 or list(sizes) != sorted(set(sizes)):
        raise argparse.ArgumentTypeError(f"{text!r} does not increase from at least 1")
    return sizes


def _pairs(extra: Sequence[str], arguments: argparse.Namespace) -> dict[str, str]:
    """Options that argparse does not know, as name -> text; only commands with a model take them."""
    pairs: dict[str, str] = {}
    rest = list(extra)
    if arguments.command == "validate" and {"--data", "--log", "--start", "--set"} & {o.split("=")[0] for o in rest}:
        raise UsageError(
            "validate judges claims on their own data",
            remedy="on yours: learning-mechanics check MODEL CLAIM --data FILE",
        )
    if arguments.command == "validate" and not (arguments.model or arguments.against):
        raise UsageError("no model given", remedy="name one from `list`, or settle forecasts with --against FOLDER")
    while rest:
        option, equals, value = rest.pop(0).partition("=")
        if not option.startswith("--") or not hasattr(arguments, "model"):
            known = [name.replace("_", "-") for name in vars(arguments) if name != "command"]
            if option.startswith("--"):
                raise UnknownName.among(option[2:], known, kind=f"option of {arguments.command}")
            raise UsageError(f"unexpected {option!r}", remedy=f"see learning-mechanics {arguments.command} --help")
        if not equals:
            if not rest or rest[0].startswith("--"):
                raise UsageError(f"{option} has no value", remedy=f"write {option} VALUE")
            value = rest.pop(0)
        pairs[option[2:].replace("-", "_")] = value
    return pairs


def _cache_compilations() -> None:
    """Let JAX keep compiled programs between commands; the environment's own choice wins, nothing is imported."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    if home.is_dir() and os.access(home, os.W_OK):
        os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(home / "learning-mechanics" / "jax"))
        os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.2")


def _repeat_on_accelerators() -> None:
    """The same seed must give the same numbers on a GPU: no kernels chosen by timing, no unordered sums."""
    flags = os.environ.get("XLA_FLAGS", "")
    if "xla_gpu_deterministic_ops" not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} --xla_gpu_deterministic_ops=true".strip()
