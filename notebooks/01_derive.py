# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 1. Derive
#
# From a loss to a law, with every step on record. The smallest deep network is a product of two numbers,
# $f(x) = a\,b\,x$, fitted to a slope $s$. Everything below is derived by the code; nothing is typed in.

# %%
import matplotlib.pyplot as plt
import numpy as np
import sympy as sp

import learning_mechanics as lm

a, b, s = lm.scalars("a b s")
flow = lm.gradient_flow((s - a * b) ** 2 / 2, on=(a, b))
flow

# %% [markdown]
# **What never changes.** The flow keeps a quantity; it is found, not assumed.

# %%
lm.conserved(flow)

# %% [markdown]
# **A balanced start stays balanced.** `Balanced` is accepted only because the flow leaves the set $a = b$ invariant;
# an ansatz that the dynamics does not preserve raises an error with the residual.

# %%
mode = flow.assume(lm.Balanced(a, b, into="u"))
mode

# %% [markdown]
# **Closed form.** Every answer is put back into its equation at random points in 40-digit arithmetic before it
# is trusted.

# %%
curve = lm.closed_form(mode)
curve

# %%
print(curve)

# %% [markdown]
# The flow waits near zero, then learns in a step whose time grows with $\log(1/u_0)$: saddle-to-saddle dynamics. A
# plain NumPy gradient descent on $a$ and $b$ knows nothing of the derivation.

# %%
rate, steps, strength = 0.01, 900, 1.5
figure, axes = plt.subplots(figsize=(6, 3.4), layout="constrained")
for start, colour in ((0.3, "C0"), (0.03, "C1"), (0.003, "C2")):
    x = y = start
    trained = []
    for _ in range(steps):
        trained.append(x * y)
        x, y = x + rate * y * (strength - x * y), y + rate * x * (strength - x * y)
    time = rate * np.arange(steps)
    axes.plot(time, curve.evaluate(time, u=start, s=strength) ** 2, color=colour, label=f"$u_0$ = {start}")
    axes.plot(time[::45], trained[::45], "o", color=colour, ms=4)
axes.set(xlabel=r"time $t = \eta k$", ylabel="strength $a\\,b$", title="closed form: lines; gradient descent: dots")
axes.legend(frameon=False)
plt.show()

# %% [markdown]
# **Any depth.** The shipped model does the same for matrices: a network graph, its matrix equations of motion, white
# inputs, aligned weights, balance, one scalar equation per singular mode.

# %%
seven = lm.DeepLinear(depth=7).derive()
seven

# %%
print(seven.trail)

# %% [markdown]
# From three layers on, time is an explicit function of strength and not the other way round: a perfectly good law.

# %%
lm.closed_form(lm.DeepLinear(depth=3).derive())

# %% [markdown]
# ## Networks are graphs
#
# Chains of any depth, skips, tied weights, gates, several inputs and outputs. Below, an autoencoder with tied weights
# beside a linear skip: the equations of motion come from the graph, with symbolic dimensions, for any data with second
# moments $\Sigma_{xx}$ and $\Sigma_{yx}$.

# %%
tied = lm.Network(
    (
        lm.Node("x", "input", width="d"),
        lm.Node("code", "dense", ("x",), weight="W", width="k"),
        lm.Node("copy", "dense", ("code",), weight="W", width="d", transposed=True),  # the same W: W'W x
        lm.Node("skip", "dense", ("x",), weight="V", width="d"),
        lm.Node("y", "sum", ("copy", "skip")),
    )
)
flow = lm.network_flow(tied)
flow

# %%
print(lm.jax_code(flow))

# %% [markdown]
# Numbers come from the equations: from a small start the skip $V$, which is linear in its weights, does not wait, and
# little is left for the code to learn.

# %%
rng = np.random.default_rng(0)
W, V = 0.03 * rng.standard_normal((2, 4)), np.zeros((4, 4))
teacher = np.diag([3.0, 2.0, 1.0, 0.5])
time = np.linspace(0, 8, 81)
moments = {"Sigma_xx": np.eye(4), "Sigma_yx": teacher}
both = lm.solve(flow, {"W": W, "V": V, **moments}, at=time)
alone = lm.solve(lm.network_flow(lm.Network(tied.nodes[:3])), {"W": W, **moments}, at=time)
figure, axes = plt.subplots(figsize=(6, 3.4), layout="constrained")
for name, found, line in (("with the skip", both, "-"), ("tied weights alone", alone, "--")):
    gap = ((teacher - found["end_to_end"]) ** 2).sum((1, 2)) / 2
    axes.plot(time, gap, line, label=name)
axes.set(xlabel="time $t$", ylabel="loss", title="skips do not wait")
axes.legend(frameon=False)
plt.show()

# %% [markdown]
# ## What every training run conserves
#
# Which functions of the weights stay constant under gradient flow, on **any** data and for **any** smooth loss? The
# finder returns all of them, and says when the list is complete: the gradients generate a Lie algebra, and where it
# closes, parameters minus its rank is the number of conserved quantities. Query and key of an attention head:

# %%
Q, K = lm.matrices(Q=(2, 3), K=(2, 3))
print(lm.conservation_laws(Q.T * K))

# %% [markdown]
# These are the entries of $K K^\top - Q Q^\top$. Symmetries are found too, also where nothing is polynomial: scaling a
# rectified unit in and out by inverse factors changes nothing, so its balance is conserved.

# %%
w1, w2, v, x1, x2 = lm.scalars("w1 w2 v x1 x2")
lm.symmetries(v * sp.Max(w1 * x1 + w2 * x2, 0), on=(w1, w2, v))

# %% [markdown]
# ## Two layers, solved as matrices
#
# On white inputs and from weights with $W_2^\top W_2 - W_1 W_1^\top = \lambda I$ the end-to-end map obeys a matrix
# Riccati equation. Its exact solution needs no alignment: from random orthogonal weights ($\lambda = 0$), nearly equal
# modes mix while they grow, which no theory of single modes sees.

# %%
print(lm.TwoLayerLinear().derive().trail)

# %%
target = np.diag([2.0, 1.9, 0.6])
W1, W2 = 0.1 * np.linalg.qr(rng.standard_normal((2, 3, 3))).Q
time = np.linspace(0, 6, 241)
path = lm.two_layer(W1, W2, target, time)
path

# %%
figure, axes = plt.subplots(figsize=(6, 3.4), layout="constrained")
for i in range(3):
    axes.plot(time, path.end_to_end[:, i, i], color=f"C{i}", label=f"mode {i + 1}")
axes.plot(time, path.end_to_end[:, 0, 1], "k:", label="modes 1 and 2 mixed")
weights, rate = [W1, W2], 0.002
for step in range(int(6 / rate)):
    if step % 150 == 0:
        axes.plot([step * rate] * 3, np.diag(weights[1] @ weights[0]), "k.", ms=4)
    gap = target - weights[1] @ weights[0]
    weights = [weights[0] + rate * weights[1].T @ gap, weights[1] + rate * gap @ weights[0].T]
axes.set(xlabel=r"time $t$", ylabel="entries of $W_2 W_1$", title="exact solution: lines; gradient descent: dots")
axes.legend(frameon=False)
plt.show()

# %% [markdown]
# ## Which reductions hold for my data?
#
# `reduce` measures every assumption on the data and weights at hand, applies those that hold, and says by how far the
# others fail.

# %%
x = rng.standard_normal((200, 6)) * np.arange(1, 7) ** -0.5
data = lm.Dataset(x, x @ rng.standard_normal((6, 2)), "mine")
print(lm.reduce(lm.DeepLinear(), data, width=8))

# %% [markdown]
# ## The derivation as a document
#
# Everything a model derives, each step once, with its rule, assumption, reference and numerical check: as text, a web
# page, LaTeX, JSON, or a Python module that runs and checks itself without this package. From a shell it is
# `learning-mechanics derive deep-linear --output derivation.py`.

# %%
print(lm.document(lm.EdgeOfStability(optimizer="nesterov")))
