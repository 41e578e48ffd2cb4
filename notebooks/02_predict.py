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
# # 2. Predict
#
# How fast will the test error fall with more data? The forecast below is made from 900 handwritten digits without
# training anything. Then the other half of the data is used to see whether it was right.

# %%
# %matplotlib inline
import matplotlib.pyplot as plt
import numpy as np

import learning_mechanics as lm
from learning_mechanics.validate.inputs import data

digits = data.load("digits").prepare("unit_norm", "one_hot", "centre_targets")
half = np.random.default_rng(0).permutation(len(digits)) < len(digits) // 2
probe, pool = ((digits.x[rows], digits.y[rows]) for rows in (half, ~half))

# %% [markdown]
# **What the data are like.** Rank, whiteness, noise floor: which laws may be believed, before any is asked.

# %%
print(lm.diagnose(lm.Dataset(*probe, name="half of the digits"), models=False))

# %% [markdown]
# **The kernel** of an infinitely wide ReLU network with three weight layers, as a formula of the cosine $t$ between two
# inputs (the recursion over layers), and as an array.

# %%
kernel = lm.kernels.ntk(depth=3, activation="relu")
kernel

# %%
kernel(probe[0][:3])

# %% [markdown]
# **The forecast.** One number with its error; the window it is for; what it rests on.

# %%
sizes = np.array([50, 75, 110, 165, 245, 365])
forecast = lm.exponents(lm.KernelRegression(kernel=kernel, ridge=1e-8).on(*probe), sizes=sizes).samples
print(forecast)

# %%
lm.plot(forecast)

# %% [markdown]
# **Was it right?** Plain kernel regression on the *other* half: train on $n$ rows, test on the rest, twelve times each.

# %%
x, y = pool
gram = kernel(x)
rng = np.random.default_rng(1)
errors = np.empty((12, len(sizes)))
for trial in range(12):
    order = rng.permutation(len(x))
    for column, n in enumerate(sizes):
        train, test = order[:n], order[n:]
        weights = np.linalg.solve(gram[np.ix_(train, train)] + 1e-8 * np.eye(n), y[train])
        errors[trial, column] = ((gram[np.ix_(test, train)] @ weights - y[test]) ** 2).sum(1).mean()
measured = errors.mean(0)
compared = forecast.compared(sizes, measured)
print(f"forecast  {forecast.value:.3f} +- {forecast.error:.3f}")
print(f"measured  {compared.measured:.3f}")
print(f"extrapolating the three smallest runs would have said {compared.naive:.3f}")

# %% [markdown]
# The line is the forecast, the dots are the measurement. Slopes are claimed; levels are not: they are shown as they
# came out.

# %%
figure, axes = plt.subplots(figsize=(5.5, 3.6), layout="constrained")
axes.loglog(sizes, forecast.curve.test, label=f"forecast, slope {forecast.slope:.2f}")
axes.errorbar(sizes, measured, errors.std(0) / np.sqrt(12), fmt="o", ms=5, label=f"measured, {-compared.measured:.2f}")
axes.set(xlabel="training samples $n$", ylabel="test error", title="digits, other half")
axes.set_xticks(sizes, sizes)
axes.set_yticks([0.15, 0.2, 0.3], ["0.15", "0.2", "0.3"])
axes.minorticks_off()
axes.legend(frameon=False)
plt.show()
