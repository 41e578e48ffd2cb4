"""Blocks of matrices: every entry once, symmetric ones mirrored, bytes said and kept."""

import tracemalloc

import numpy as np
import pytest

from learning_mechanics.theory.architecture.constructors import activation, dense, serial
from learning_mechanics.theory.errors import BadData
from learning_mechanics.theory.infinite_width import tiles
from learning_mechanics.theory.infinite_width.network_kernel import infinite_width
from learning_mechanics.theory.infinite_width.tiles import fill, plan

NET = serial(*[dense(2**0.5, 0.1), activation("relu")] * 3, dense())


@pytest.mark.instant
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize(("rows", "columns"), [(1, None), (300, None), (300, 200), (1, 1000), (0, 5), (5, 0)])
def test_every_entry_is_written_once(rows, columns, threads):
    arranged = plan(rows, columns, threads=threads)
    columns_ = rows if columns is None else columns
    truth = np.add.outer(np.arange(rows) * 1000.0, np.arange(columns_))
    truth = np.minimum(truth, truth.T) if columns is None else truth
    result, count = np.full(truth.shape, np.nan), np.zeros(truth.shape, int)
    for i, j in arranged.blocks():
        count[i, j] += 1
        if columns is None and i != j:
            count[j, i] += 1
    assert (count == 1).all()
    fill(arranged, lambda i, j: [truth[i, j]], [result])
    np.testing.assert_array_equal(result, truth)


@pytest.mark.instant
def test_symmetric_matrices_are_exactly_symmetric():
    """The lower triangle of a block on the diagonal is not used."""
    made = np.random.default_rng(0).standard_normal((200, 200))
    result = np.empty((200, 200))
    fill(plan(200, None), lambda i, j: [made[i, j]], [result])
    np.testing.assert_array_equal(result, np.triu(made) + np.triu(made, 1).T)


@pytest.mark.instant
def test_errors_in_a_thread_arrive():
    def fails(i, j):
        raise BadData("found", where="block")

    with pytest.raises(BadData, match="block: found"):
        fill(plan(1000, None, threads=2), fails, [np.empty((1000, 1000))])


@pytest.mark.instant
def test_a_plan_says_its_bytes_and_refuses_beyond_a_limit():
    arranged = plan(20_000, None, outputs=2, threads=2, limit=1 << 30)
    assert arranged.result_bytes == 2 * 8 * 20_000**2 and "6.0 GB of results" in str(arranged)
    assert "157 x" not in str(arranged) and "blocks of 313 x 313" in str(arranged)
    with pytest.raises(BadData, match="more than the limit of 1.0 GB; take fewer samples.*out="):
        arranged.check()
    plan(20_000, None, outputs=2, threads=2, limit=1 << 30, given=True).check()
    kernel = infinite_width(NET, memory=125_000_000, threads=2)
    assert kernel.bytes(1500) == kernel.plan(1500).bytes > 36_000_000
    with pytest.raises(BadData, match="2 matrices 1500 x 1500 .*more than the limit of 119 MB"):
        kernel(np.ones((1500, 3)))
    assert kernel.bytes(1500, get="ntk") < kernel.bytes(1500) < kernel.bytes(1500, 2000)
    assert kernel(np.ones((1500, 3)), get="ntk").ntk.shape == (1500, 1500)
    with pytest.raises(BadData, match="out: float32 .5, 5. for nngp"):
        kernel(np.ones((5, 3)), out={"nngp": np.empty((5, 5), np.float32), "ntk": np.empty((5, 5))})
    with pytest.raises(BadData, match="out: a NoneType for ntk"):
        kernel(np.ones((5, 3)), out={"nngp": np.empty((5, 5))})


@pytest.mark.short
@pytest.mark.parametrize("b_std", [0.0, 0.1])
def test_the_stated_bytes_hold_what_is_taken(b_std):
    """Peak of what NumPy takes at N = 800, where the work must be within the plan and 10 % of the results."""
    net = serial(*[dense(2**0.5, b_std), activation("relu")] * 10, dense())
    x = np.random.default_rng(1).standard_normal((800, 16))
    kernel = infinite_width(net, threads=2)
    kernel(x[:70])
    tracemalloc.start()
    kernel(x)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    stated = kernel.plan(800)
    assert stated.result_bytes <= peak <= stated.bytes + 0.1 * stated.result_bytes


@pytest.mark.instant
def test_large_entries_take_small_blocks():
    assert plan(100, None, entry=1 << 20).block == (1, 1)
    assert plan(100, 50, entry=1 << 10).block == (9, 9)
    assert tiles.processors() >= 1
