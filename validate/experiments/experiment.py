"""Run the experiment of a claim: instances in, a measurement out. No derived equation ever enters here."""

import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...theory.errors import UnknownName
from ...theory.setup import Instance, Setup

HOST = "host: NumPy"


@dataclass(frozen=True, eq=False)
class Measurement:
    """Measured values (seed, axis value, abscissa point, component), with where and how they were obtained."""

    values: np.ndarray
    abscissa: np.ndarray
    abscissa_name: str
    observable: str
    seeds: tuple[int, ...]
    device: str
    dtype: str
    seconds: float
    precision: str = "highest"
    versions: tuple[tuple[str, str], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        return {
            "values": self.values.tolist(),
            "abscissa": self.abscissa.tolist(),
            "abscissa_name": self.abscissa_name,
            "observable": self.observable,
            "seeds": list(self.seeds),
            "device": self.device,
            "dtype": self.dtype,
            "matmul_precision": self.precision,
            "seconds": self.seconds,
            "versions": dict(self.versions),
        }


def run(
    observable: str,
    instances: Sequence[Sequence[Instance]],
    seeds: Sequence[int],
    *,
    device: str | None = None,
    progress: Callable[[float], None] | None = None,
) -> Measurement:
    """Measure `observable` on instances[seed][axis value].

    `full_batch` and `online` train one network per instance; `one_pass` and `kernel_solve` take a single row of
    instances and repeat the random part of the procedure once per seed. `kernel_solve` runs in NumPy on the host
    whatever the device, and its measurement says so.
    """
    started = time.perf_counter()
    place, placed = resolve_device(device)
    setup: Setup = instances[0][0].setup
    dtype, precision = setup.options.get("dtype", "float64"), "highest"
    if setup.procedure == "kernel_solve":
        placed, dtype, precision = HOST, "float64", "native"
    columns = []
    for column in range(len(instances[0])):
        report = None
        if progress is not None:
            report = lambda done, column=column: progress((column + done) / len(instances[0]))  # noqa: E731
        if setup.procedure in ("full_batch", "online"):
            from .train import train_all

            same = [row[column] for row in instances]
            columns.append(train_all(same, [observable], report, place, dtype)[observable])
        else:
            columns.append(_replicated(setup.procedure)(instances[0][column], seeds, observable, report, place))
    abscissa = [np.asarray(instance.setup.sizes or instance.steps) for instance in instances[0]]
    return Measurement(
        values=np.stack(columns, axis=1),
        abscissa=np.stack(abscissa),
        abscissa_name="n" if setup.sizes else "step",
        observable=observable,
        seeds=tuple(seeds),
        device=placed,
        dtype=dtype,
        seconds=time.perf_counter() - started,
        precision=precision,
        versions=versions(),
    )


def _replicated(procedure: str):
    if procedure == "one_pass":
        from .one_pass import one_pass

        return one_pass
    from .kernel_solve import kernel_solve

    return kernel_solve


def resolve_device(name: str | None):
    """The JAX device of that kind and its description; None is JAX's default.

    Errors: `UnknownName` when JAX sees no such device.

    >>> resolve_device("cpu")[1]
    'cpu: cpu'
    """
    import jax

    found = {device.platform: device for device in reversed(jax.devices())}
    if name == "cpu" and "cpu" not in found:
        found["cpu"] = jax.devices("cpu")[0]
    if name is None:
        chosen = jax.devices()[0]
    else:
        if name not in found:
            raise UnknownName(
                f"JAX sees no {name!r} here, only {', '.join(found)}",
                where="device",
                remedy="leave the device out, or install JAX for it",
            )
        chosen = found[name]
    return chosen, f"{chosen.platform}: {chosen.device_kind}"


def versions() -> tuple[tuple[str, str], ...]:
    """Versions of everything the numbers depend on, those of packages without metadata as "unknown".

    >>> [name for name, _ in versions()][:3]
    ['python', 'jax', 'jaxlib']
    """
    from importlib.metadata import PackageNotFoundError, version

    def found(name: str) -> str:
        try:
            return version(name)
        except PackageNotFoundError:  # importable without being installed: a source tree on the path
            return "unknown"

    names = ("jax", "jaxlib", "numpy", "scipy", "sympy", "optax", "scikit-learn")
    return (("python", platform.python_version()), *((name, found(name)) for name in names))
