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
# # 4. Add your own model
#
# A model is one class: hyperparameters as fields, `derive()` for the system, `claims()` for what would refute it. Put
# the class into a file of its own in `theory/models/`, and the command line, the report and the conformance tests find
# it.
#
# Here: least squares with **heavy-ball momentum**. In the eigenbasis of the inputs' covariance every direction is on
# its own,
#
# $$m \leftarrow \beta m + \lambda e, \qquad e \leftarrow e - \eta\, m, \qquad
# \text{loss} = \tfrac12 \sum \lambda e^2 + \text{floor},$$
#
# with $e$ the distance to the best weights. Its rival is the rule of thumb that momentum is gradient descent with the
# learning rate $\eta / (1 - \beta)$.

# %%
# %matplotlib inline
from dataclasses import dataclass, replace

import numpy as np

import learning_mechanics as lm

lam = lm.modes("lambda")
e, m = lm.modes("e m", positive=None, real=True)
eta, beta, floor = lm.positive("eta beta floor")
loss = lm.over(lam * e**2) / 2 + floor


def heavy_ball():
    """Error and velocity of every direction, one step."""
    velocity = beta * m + lam * e
    return lm.Map((e, m), (e - eta * velocity, velocity), observables={"loss": loss})


def rule_of_thumb():
    """Gradient descent with the learning rate that a constant gradient would give."""
    return lm.Map((e,), (e - eta / (1 - beta) * lam * e,), observables={"loss": loss})


heavy_ball()

# %% [markdown]
# **From an instance to numbers.** An instance holds the arrays at $t = 0$ and nothing else: inputs, targets, initial
# weights. A law may use them; it never sees the training.


# %%
def directions(instance):
    """Eigenvalues, initial errors in the eigenbasis and the loss that is left at the end."""
    x, y, weights = instance["x"], instance["y"], instance["W1"]
    eigenvalues, basis = np.linalg.eigh(x.T @ x / len(x))
    best = np.linalg.lstsq(x, y, rcond=None)[0].T
    error = (weights - best) @ basis
    return {
        "lambda": np.tile(eigenvalues, len(error)),
        "e": error.ravel(),
        "m": np.zeros(error.size),
        "beta": instance.setup.optimizer.momentum,
        "floor": ((y - x @ best.T) ** 2).sum() / len(x) / 2,
    }


@dataclass(frozen=True)
class Momentum(lm.Theory):
    """Least squares with heavy-ball momentum."""

    momentum: float = lm.parameter(0.9, "share of the velocity that is kept")

    def derive(self):
        return heavy_ball()

    def claims(self):
        setup = lm.Setup(
            network=lm.chain("input", "output"),
            data="digits",
            prepare=("drop_constant", "centre", "one_hot", "centre_targets"),
            optimizer=lm.Optimizer("heavy_ball", learning_rate=0.02, momentum=self.momentum),
            steps=300,
            records=61,
        )
        return (
            lm.Equals(
                "loss",
                "The training loss follows the exact recursion of every direction.",
                observable="loss",
                setup=setup,
                law=lm.Law("heavy ball, direction by direction", heavy_ball, directions, "loss"),
                rival=lm.Law("gradient descent at eta / (1 - beta)", rule_of_thumb, directions, "loss"),
                rival_home="late times of slow directions, where the velocity has settled",
                relative="point",
                seeds=2,
                budget={"rounding": 1e-10},
            ),
        )


# %% [markdown]
# **Check it.** The forecast is computed and hashed before the training starts; the rival is judged on the same run.

# %%
run = lm.run_claim(Momentum(), "loss")
print(run.verdict)

# %%
lm.plot(run)

# %% [markdown]
# **Can this check fail?** A step that is longer by one part in a million is refuted.


# %%
def wrong():
    velocity = beta * m + lam * e
    return lm.Map((e, m), (e - eta * velocity * (1 + 1e-6), velocity), observables={"loss": loss})


claim = Momentum().claim("loss")
verdict = lm.run_claim(Momentum(), replace(claim, law=replace(claim.law, system=wrong))).verdict
print(verdict)
assert verdict.outcome == "refuted"
