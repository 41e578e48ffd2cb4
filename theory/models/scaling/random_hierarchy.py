"""Random hierarchies: a grammar that is learned in steps, one level as soon as its synonyms can be told apart.

Synonyms are seen by what they tell about the class. That signal falls by the factor g ~ 1/m a level, exactly on average
over grammars, and counting noise as 1/P; they meet at P* ~ n_c m^L. See `mechanisms.random_hierarchy`.

>>> print(sorted(RandomHierarchyModel().derive().observables))
['distance', 'noise', 'share', 'signal', 'threshold']
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...architecture.network import chain
from ...claims import Claim, Equals, Law
from ...mechanisms.grammar import RandomHierarchy
from ...mechanisms.random_hierarchy import CAGNETTA, stated, tuple_distances
from ...model import Theory, parameter
from ...setup import Initialisation, Instance, Setup
from ...system import FixedPoint


@dataclass(frozen=True)
class RandomHierarchyModel(Theory):
    """Synonyms of a random hierarchy"""

    features: int = parameter(8, "number of features v at every level, and of classes", least=2)
    synonyms: int = parameter(4, "number of tuples m that stand for one feature", least=1)
    levels: int = parameter(2, "number of levels L between class and inputs", least=2)

    def derive(self) -> FixedPoint:
        """Mean squared distance between classes in the frequencies of tuples, and where noise no longer hides it."""
        return tuple_distances()

    def claims(self) -> tuple[Claim, ...]:
        data = RandomHierarchy(self.features, self.synonyms, levels=self.levels)
        ways = self.synonyms**self.levels
        # as many rows of every class
        below, place, above = (float(self.features * times) for times in (-(-ways // 4), ways, 8 * ways))
        setup = Setup(
            network=chain("input", "output"),
            data=data,
            axes={"n": place},
            initialisation=Initialisation("normal", 0.0),
            steps=0,
            records=1,
        )
        return (
            Equals(
                name="signal_and_noise",
                statement="What tuples tell about the class, and the noise of counting, below, at and above n_c m^L",
                observable="tuple_distance",
                setup=setup,
                law=Law("levels multiply", tuple_distances, _stated, "distance", reference=CAGNETTA),
                rival=Law("a level divides by m", tuple_distances, _many_features, "distance", reference=CAGNETTA),
                rival_home="so many features that the synonyms of one say nothing about those of another",
                axis="n",
                values=(below, place, above),
                seeds=24,
                stochastic=True,
                relative="point",
                seconds=1.0,
                reference=CAGNETTA,
                budget={"declared": 0.03},
                options={"scatter": 0.02},
            ),
        )


def _stated(instance: Instance) -> dict[str, Any]:
    return {**stated(instance.setup.data), "P": np.float64(instance.setup.axes["n"])}


def _many_features(instance: Instance) -> dict[str, Any]:
    """g = 1/m, its limit for v -> oo, in which n_c m^L is exact."""
    values = _stated(instance)
    return {**values, "g": 1 / values["m"]}
