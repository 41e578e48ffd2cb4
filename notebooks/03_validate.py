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
# # 3. Validate
#
# A claim names what is measured, the law, the error the law may make, and a **rival**: the best law without the claimed
# ingredient. The forecast is written and hashed before the first training step; the experiment differentiates the
# network and never sees a derived equation; the judge compares.

# %%
# %matplotlib inline
from dataclasses import replace

import numpy as np

import learning_mechanics as lm
from learning_mechanics.validate.judging.judge import judge

model = lm.DeepLinear()
for claim in model.claims():
    print(f"{claim.name:<25} {claim.statement}")

# %% [markdown]
# **One claim, one card.** Two linear layers on raw, non-white digits. The law is an exact recursion on three small
# matrices; the rival is the textbook mode equation, which holds on white inputs.

# %%
run = lm.run_claim(model, "gram_recursion")
print(run.verdict)

# %%
lm.plot(run)

# %% [markdown]
# **A learning rate that is too large** is refused before anything is computed, where the claim assumes convergence.

# %%
claim = model.claim("aligned_recursion")
try:
    lm.run_claim(model, replace(claim, setup=claim.setup.at(learning_rate=4.0)))
except lm.errors.OutsideDomain as refused:
    print(refused)

# %% [markdown]
# **What may be concluded?** The card says what could have been seen: an error of twice the printed *resolution*,
# planted into the observable, is refuted. Let us plant one.

# %%
planted = replace(run.measurement, values=run.measurement.values * (1 + 1e-6))
print(judge(run.claim, run.prediction, run.rival, planted, theory=model.model_name()))

# %% [markdown]
# **From saddle to saddle.** Every model brings its own claims. From a small start the loss of a deep linear network is
# a staircase: the law says when each step comes and how low it leads.

# %%
stairs = lm.run_claim(lm.SaddleToSaddle(), "staircase")
print(stairs.verdict)

# %%
lm.plot(stairs)

# %% [markdown]
# **Your own data.** Bind arrays to a model: claims are then predicted and tested on them.

# %%
rng = np.random.default_rng(0)
x = rng.standard_normal((300, 12)) * np.arange(1, 13) ** -0.5
y = x @ rng.standard_normal((12, 3))
print(lm.check(model.on(x, y, name="my data"), "balance_drift"))

# %% [markdown]
# Learning rates may be stated relative to the data. Here training is pushed beyond the edge of stability of *these*
# data, where it should alternate between two strengths of the strongest mode, both derived beforehand.

# %%
print(lm.check(lm.BeyondTheEdge().on(x, y, name="my data"), "orbit"))

# %% [markdown]
# **Your own training.** A run that this package did not make is judged from its log:
#
# ```
# learning-mechanics check deep-linear balance_drift --data mine.npz --log run.csv --start weights.npz
# ```
