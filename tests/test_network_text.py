"""Networks written as text are the networks the constructors make, and nothing else is evaluated."""

import pytest

from learning_mechanics.theory.architecture import constructors as la
from learning_mechanics.theory.architecture.text import PARTS, parse
from learning_mechanics.theory.errors import LearningMechanicsError

pytestmark = pytest.mark.instant


def test_text_and_constructors_agree():
    written = parse(
        "reshape(8, 8, 1), convolution((3, 3), 2**0.5, padding='same', width=6), relu, average_pool(2), flatten,"
        "residual(dense(1.5, -0.1 + 0.2), leaky_relu(1/4), scale=0.5), layer_norm(eps=1e-5), dense(width=1)"
    )
    made = la.serial(
        la.reshape(8, 8, 1),
        la.convolution((3, 3), 2**0.5, padding="same", width=6),
        la.activation("relu"),
        la.average_pool(2),
        la.flatten(),
        la.residual(la.dense(1.5, 0.1), la.activation("leaky_relu(0.25)"), scale=0.5),
        la.layer_norm(eps=1e-5),
        la.dense(width=1),
    )
    assert written == made


def test_every_constructor_can_be_written():
    offered = {name for name, value in vars(la).items() if getattr(value, "__module__", "") == la.__name__}
    assert {name for name in offered if not name.startswith("_")} == {*PARTS, "activation"}


@pytest.mark.parametrize(
    "text",
    ["", "dense,, relu", "__import__('os')", "dense(open('x'))", "dense.width", "lambda: 0", "dense(w=1)",
     "relu(dense)", "dense(1/0)", "dense(9**9999)", "dense(True)", "5", "dense(**{})",
     "[dense]", "dense(*[1])", "residual(3)"],
)  # fmt: skip
def test_anything_else_is_refused_in_one_line(text):
    with pytest.raises(LearningMechanicsError) as caught:
        parse(text)
    assert "\n" not in str(caught.value)
