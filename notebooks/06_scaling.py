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
# # 6. Scaling laws
#
# How fast does the loss fall with samples, parameters, steps and compute? Below, the exponents are written down before
# anything is trained: from a spectrum, from data, and exactly for one-pass SGD on power-law features. At the end a
# forecast is put on record, the runs are made, and it is scored.

# %%
# %matplotlib inline
import tempfile

import matplotlib.pyplot as plt
import numpy as np

import learning_mechanics as lm
from learning_mechanics.validate.forecasts.folder import ForecastFolder
from learning_mechanics.validate.forecasts.question import ask
from learning_mechanics.validate.forecasts.settle import settle
from learning_mechanics.validate.tasks.tasks import halves, task

# %% [markdown]
# **From a spectrum.** Eigenvalues fall as $k^{-b}$ (the capacity $b$), the target's power as $k^{-a}$. Every axis has
# its own exponent: in samples it saturates at $2b$, in parameters at $b$. The slope over a window is not the limit, and
# the card says which of the two to believe.

# %%
k = np.arange(1.0, 3001.0)
law = lm.ScalingLaw.from_spectrum(k**-1.5, k**-1.8)
print(law)

# %% [markdown]
# **From data.** One half of the handwritten digits, odd against even, and the kernel of a wide network. What other
# mechanisms say of the same rows stands beside it.

# %%
digits = task("digits_parity")
probe = halves(digits, seed=0)
kernel = lm.kernels.ntk(depth=3, activation="relu")
forecast = lm.ScalingLaw.from_data(kernel, digits.x[probe], digits.y[probe])
print(forecast)

# %%
lm.plot(forecast)

# %% [markdown]
# **Symbols are no Gaussian features.** Rows that are words, as often as words are. The kernel's forecast says that it
# does not apply; counting how often each word occurs does.

# %%
words = task("unseen_words")
table = lm.side_by_side(kernel, words.x, words.y)
lm.plot(table)

# %%
lm.plot(lm.one_hot(words.x))

# %% [markdown]
# **Seven phases.** One-pass SGD on random features of data with eigenvalues $j^{-2\alpha}$ and target weights
# $j^{-\beta}$: which two of four terms balance at the best width decides the exponent in compute. Nothing is looked up:
# the terms are derived, and the balance solved in rational numbers.

# %%
phase = lm.power_law_phase("9/10", "3/5")
phase

# %%
print(phase)
lm.plot(phase)

# %% [markdown]
# **Finite sizes.** The same problem at the widths one has. Lines are the deterministic equivalent, dots the exact mean
# over samples for sixty draws of 50 features and fifteen of 200: a recursion of its eigenmodes, no training. On the
# right the best loss over widths, whose slope has not reached the limit.

# %%
features = lm.power_law_features(0.9, 0.6)
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
steps = np.unique(np.geomspace(1, 3e4, 40).round())
for width, colour in ((50, "#0072B2"), (200, "#D55E00"), (800, "#009E73")):
    left.loglog(steps, features.curve(width, steps).loss, color=colour, label=f"$d$ = {width}")
    if width <= 200:
        drawn = features.exact(width, steps[::4], seeds=3000 // width)
        left.errorbar(drawn.steps, drawn.loss, 2 * drawn.error, color=colour, fmt="o", ms=4, mfc="white")
left.set(xlabel="step", ylabel="loss (half squared error)")
best = features.frontier([100, 150, 225, 340, 500])
middle = len(best.compute) // 2
right.loglog(best.compute, best.loss, color="0.2", label=f"best width, local slope {best.second_half[0]:.3f}")
limit = best.loss[middle] * (best.compute / best.compute[middle]) ** -float(phase.loss_exponent)
right.loglog(best.compute, limit, "--", color="0.5", label=f"limit {phase.loss_exponent} = {best.limit:.3f}")
right.set(xlabel="compute (width × steps)", ylabel="loss")
right.minorticks_off()
right.set_xticks([5e4, 1e5, 2e5, 5e5], ["50 000", "100 000", "200 000", "500 000"])
right.set_yticks([1e-3, 2e-3, 3e-3], ["0.001", "0.002", "0.003"])
for axes in (left, right):
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
plt.show()
print(best.statement)

# %% [markdown]
# **Time, samples and width together.** The test error of gradient flow, and which resource holds it back when.

# %%
lm.plot(lm.dynamics(k**-1.5, k**-1.8, times=np.geomspace(1, 3e4, 40), samples=300, features=1000, noise=0.01))

# %% [markdown]
# **Where features move,** hard tasks are learned faster: the kernel grows along the target while it is learned.

# %%
print(lm.feature_learning("3/2", "9/5"))

# %% [markdown]
# **Finished runs.** Sixty of a law that is known here, with 0.3 % noise:
# $L = 1.7 + 400\,N^{-0.34} + 410\,D^{-0.28}$. The card gives the constants with intervals, the best split of compute,
# and whether the table can tell at all.

# %%
rng = np.random.default_rng(0)
N, D = 10 ** rng.uniform(7, 10, 60), 10 ** rng.uniform(9, 12, 60)
loss = (1.7 + 400 / N**0.34 + 410 / D**0.28) * np.exp(0.003 * rng.standard_normal(60))
fit = lm.fit_loss_surface(N, D, loss)
print(fit)

# %%
lm.plot(fit)

# %% [markdown]
# **On record.** The forecast is made from one half of the rows, dated and hashed; the runs use the other half. A folder
# of forecasts is append-only: the same question cannot be answered differently afterwards.

# %%
folder = ForecastFolder(tempfile.mkdtemp())
question, answer = ask(digits, kernel)
made = folder.register(question, answer)
print(made)

# %%
score = settle(made, digits, kernel, budget=4)
folder.record(made, score)
print(score)

# %%
try:
    folder.register(question, {**answer, "value": score.measured})
except lm.errors.WouldOverwrite as refused:
    print(refused)
