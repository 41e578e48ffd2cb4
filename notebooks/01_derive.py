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
