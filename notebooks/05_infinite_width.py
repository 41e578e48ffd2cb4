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
# # 5. Infinite width
#
# A network so wide that every layer is an average is a formula. Here is one network, from its graph to its kernel, to
# the spectrum of that kernel, to a learning curve of handwritten digits; and then a network that does *not* stay near
# its start, whose training has a formula too.

# %%
# %matplotlib inline
import matplotlib.pyplot as plt
import numpy as np

import learning_mechanics as lm
from learning_mechanics.validate.inputs import data

build = lm.architecture

# %% [markdown]
# **The graph.** A dense layer, a residual block with a ReLU inside, a readout. The width stays open.

# %%
network = build.serial(
    build.dense(w_std=1.0),
    build.residual(build.activation("relu"), build.dense(w_std=1.0)),
    build.dense(w_std=1.0),
)
kernel = lm.kernels.infinite_width(network)
print(kernel)

# %% [markdown]
# **The formula.** On the sphere $|x|^2 = d$ the tangent kernel depends on the cosine $t$ of the angle between two
# inputs alone. The same recursion, carried out with symbols:

# %%
formulas = kernel.symbolic()
formulas.ntk

# %% [markdown]
# **The numbers.** The same recursion in double precision, as a function of the angle; and real networks, one of width
# 30 and one of width 1000: their gradients multiplied, nothing averaged.

# %%
theta = np.linspace(0, np.pi, 13)
circle = 2**0.5 * np.stack([np.cos(theta), np.sin(theta)], axis=1)


def one_network(width):
    """The tangent kernel between the first point of the half circle and all of them, in one random network."""
    setup = lm.Setup(
        network=network,
        data=lm.Dataset(circle, np.zeros((len(circle), 1)), name="half a circle"),
        initialisation=lm.Initialisation("as_stated"),
        axes={"width": width},
    )
    weights = {name: array for name, array in setup.draw(0).arrays.items() if name.startswith("W")}
    return lm.empirical_kernel(network, weights, circle[:1], circle, get=("ntk",)).ntk[0]


figure, axes = plt.subplots(figsize=(5.5, 3.4), layout="constrained")
angles = np.linspace(0, np.pi, 200)
axes.plot(np.degrees(angles), kernel.on_angles(angles).ntk, color="#0072B2", label="infinite width")
for width, colour in ((1000, "#0072B2"), (30, "#D55E00")):
    axes.plot(
        np.degrees(theta), one_network(width), "o", color=colour, mfc="white", label=f"one network of width {width}"
    )
axes.set(xlabel="angle between two inputs (degrees)", ylabel="tangent kernel", xticks=range(0, 181, 45))
axes.spines[["top", "right"]].set_visible(False)
axes.legend(frameon=False)
plt.show()

# %% [markdown]
# **The spectrum.** On the sphere the eigenfunctions are spherical harmonics, and eigenvalues are integrals of the
# formula. How they fall is read off from where it is not smooth: the dashed line is theory, with its constant, no fit.

# %%
sphere = lm.spectra.sphere(kernel.as_kernel("ntk"), dimension=5)
sphere.decay

# %%
lm.plot(sphere)

# %% [markdown]
# **A learning curve from raw data.** Half of the digits tell what the kernel will learn from how many samples, with
# error bars and with the number of samples up to which to believe them. The other half is then used to check: squares
# are plain kernel regression, six times each.

# %%
digits = data.load("digits").prepare("unit_norm", "one_hot", "centre_targets")
half = np.random.default_rng(0).permutation(len(digits)) < len(digits) // 2
ridge = 1e-6
curve = lm.data_curve(kernel.as_kernel("ntk"), digits.x[half], digits.y[half], ridge=ridge)
print(curve)

# %%
x, y = digits.x[~half], digits.y[~half]
gram = kernel(x, get="ntk").ntk
sizes = [15, 40, 110, 300, 700]
rng = np.random.default_rng(1)
measured = np.empty((6, len(sizes)))
for trial in range(6):
    order = rng.permutation(len(x))
    for column, n in enumerate(sizes):
        train, test = order[:n], order[n:]
        fitted = np.linalg.solve(gram[np.ix_(train, train)] + ridge * np.eye(n), y[train])
        measured[trial, column] = ((gram[np.ix_(test, train)] @ fitted - y[test]) ** 2).sum(1).mean()

figure = lm.plot(curve)
(axes,) = figure.axes
bars = 2 * measured.std(0, ddof=1) / 6**0.5
axes.errorbar(
    sizes, measured.mean(0), bars, fmt="s", ms=4.5, color="#D55E00", mfc="white", label="measured, other half"
)
axes.legend(frameon=False, fontsize=8.5, loc="lower left")
figure

# %% [markdown]
# **From lazy to rich.** A kernel that stays is the lazy limit. With outputs divided by $\gamma$, and larger steps to
# make up for it, a wide network moves its features, the more the larger $\gamma$. Mean-field theory follows them
# exactly: here for three layers of weights, without an activation, at every step of gradient descent. Lines are theory
# at infinite width; dots are one network of width 1500 for each $\gamma$, trained in plain NumPy; dashed is the lazy
# limit.

# %%
rng = np.random.default_rng(2)
inputs = rng.standard_normal((8, 12))
targets = np.sign(rng.standard_normal((8, 1)))
recorded = np.arange(0, 61, 4)


def descent(gamma, width=1500, rate=0.06, seed=3):
    """Outputs of one network, less those of the start, and kernels of its last features, at every step."""
    rng = np.random.default_rng(seed)
    shapes = [(width, inputs.shape[1]), (width, width), (1, width)]
    layers = [rng.standard_normal(shape) for shape in shapes]
    initial, outputs, kernels = None, [], []
    for _ in range(recorded[-1] + 1):
        hidden = [inputs.T]
        for weight in layers:
            hidden.append(weight @ hidden[-1] / weight.shape[1] ** 0.5)
        scaled = hidden[-1].T / (gamma * width**0.5)
        initial = scaled if initial is None else initial
        outputs.append((scaled - initial)[:, 0])
        kernels.append(hidden[-2].T @ hidden[-2] / width)
        backward = (targets - scaled + initial).T / len(targets) / (gamma * width**0.5)
        for number in (2, 1, 0):
            weight = layers[number]
            gradient = backward @ hidden[number].T / weight.shape[1] ** 0.5
            backward = weight.T @ backward / weight.shape[1] ** 0.5
            layers[number] = weight + rate * gamma**2 * width * gradient
    return np.array(outputs), np.array(kernels)


def moved(kernels):
    """|Phi(t) - Phi(0)| / |Phi(0)|."""
    return np.linalg.norm(kernels - kernels[0], axis=(1, 2)) / np.linalg.norm(kernels[0])


# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
lazy = lm.mean_field.deep_linear(inputs, targets, depth=3, richness=0.0, learning_rate=0.06, steps=60)
left.plot(lazy.steps, lazy.loss, color="0.3", ls=(0, (4, 2.2)), lw=1.2, label="lazy limit")
for gamma, colour in ((0.3, "#0072B2"), (1.0, "#009E73"), (3.0, "#D55E00")):
    theory = lm.mean_field.deep_linear(inputs, targets, depth=3, richness=gamma, learning_rate=0.06, steps=60)
    outputs, kernels = descent(gamma)
    loss = ((targets[:, 0] - outputs) ** 2).mean(1) / 2
    left.plot(theory.steps, theory.loss, color=colour, label=rf"$\gamma$ = {gamma:g}")
    left.plot(recorded, loss[recorded], "o", color=colour, mfc="white", ms=4.5)
    right.plot(theory.steps, theory.movement()[-1], color=colour)
    right.plot(recorded, moved(kernels)[recorded], "o", color=colour, mfc="white", ms=4.5)
left.set(xlabel="training step", ylabel="loss (half squared error)", yscale="log")
right.set(xlabel="training step", ylabel="movement of the last feature kernel\n(share of its norm)")
for axes in (left, right):
    axes.spines[["top", "right"]].set_visible(False)
left.legend(frameon=False)
plt.show()
