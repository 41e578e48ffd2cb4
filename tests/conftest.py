"""One thread a process, compiled programs kept between runs, no window; nothing here changes JAX's own flags."""

import os
import tempfile

os.environ.setdefault("MPLBACKEND", "agg")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false --xla_gpu_deterministic_ops=true")
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", os.path.join(tempfile.gettempdir(), "learning-mechanics-jax-cache"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")

import pytest  # noqa: E402  (the environment must be set before anything imports JAX or NumPy)


def pytest_collection_modifyitems(items):
    """GPU tests say so instead of failing where JAX sees no GPU."""
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if not marked:
        return
    import jax

    if not any(device.platform == "gpu" for device in jax.devices()):
        for item in marked:
            item.add_marker(pytest.mark.skip(reason="JAX sees no GPU"))
