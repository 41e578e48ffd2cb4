"""Which data a claim can be judged on, said before anything is computed."""

from ...theory.claims import Claim
from ...theory.dataset import Dataset
from ...theory.errors import BadData
from .user_data import require_consistent, require_samples


def require_suitable(data: Dataset, claim: Claim) -> None:
    """Refuse data that this claim cannot be judged on. Raises `BadData`.

    >>> import numpy as np
    >>> from ...theory.models.kernel_regression import KernelRegression
    >>> require_suitable(Dataset(np.eye(3), np.arange(3.0)), KernelRegression().claim("finite_population"))
    Traceback (most recent call last):
    ...
    learning_mechanics.theory.errors.BadData: data: 3 samples but the claim finite_population needs 400; give more rows
    """
    setup = claim.setup
    if not isinstance(setup.data, str):
        raise BadData(
            f"{claim.name} is a claim about a stated distribution",
            where=data.name,
            remedy="it takes no data; choose another claim from `learning-mechanics list`",
        )
    needed = max([*setup.sizes, int(setup.axes.get("n", 0))])
    if needed and claim.axis == "n":
        needed = max(needed, *map(int, claim.values))
    require_samples(data, needed * (2 if setup.sample == "halves" else 1), f"the claim {claim.name}")
    if setup.procedure == "kernel_solve":
        require_consistent(data, float(setup.options.get("ridge", 0.0)))
