"""What an adapter's hooks return: what passes as it is, and what is refused in which words before it does harm."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from adapter_toys import batch, toy_network
from torch import nn

from harness.api import Adapter, ContractError, HarnessError, NoOptions, WeightAveraging
from harness.engine.answers import Answers, loss_fault, shown

NETWORK = toy_network()
OWN = nn.Linear(2, 1)
LOGITS = torch.zeros(4, 3)


def answers(hook=None, answer=None):
    """Return the answers of an adapter of which one hook returns the answer, or what that returns if it can be called."""

    class Toy(Adapter[NoOptions]):
        def losses(self, source, target):
            return {"loss": source.logits.sum()}

    if hook is not None:
        setattr(Toy, hook, lambda _self, *given: answer(*given) if callable(answer) else answer)
    return Answers(Toy(NoOptions()), "toy")


def asked(hook, answer):
    """Ask a hook that returns the answer."""
    pair = batch(LOGITS.clone().requires_grad_()), batch(LOGITS)
    given = {
        "remarks": (5, 3),
        "modules": (5, 3),
        "trained": (NETWORK, {"own": OWN}),
        "weight_averaging": (),
        "prepare": (torch.zeros(4, 1, 4, 4), torch.zeros(4)),
        "losses": pair,
        "diagnostics": pair,
        "adapt": (toy_network(), None, None),
    }
    return getattr(answers(hook, answer), hook)(*given[hook])


# -- what passes ------------------------------------------------------------------------------------------------------------


def test_an_adapter_of_losses_alone_answers_every_hook_with_nothing():
    toy = answers()
    assert toy.remarks(5, 3) == []
    assert toy.modules(5, 3) == {}
    assert toy.trained(NETWORK, {}) is None
    assert toy.weight_averaging() is None
    assert toy.diagnostics(batch(LOGITS), batch(LOGITS)) == {}
    images = torch.rand(2, 1, 4, 4)
    assert torch.equal(toy.prepare(images, torch.zeros(2)), images)


@pytest.mark.parametrize(
    ("hook", "answer", "wanted"),
    [
        ("remarks", lambda *_: (text for text in ("one", "two")), ["one", "two"]),
        ("remarks", ("one",), ["one"]),
        ("weight_averaging", WeightAveraging(decay=0.0), WeightAveraging(decay=0.0)),
        ("weight_averaging", WeightAveraging(decay=None, start=0.5), WeightAveraging(decay=None, start=0.5)),
        ("trained", lambda _: iter([NETWORK.head.bias, OWN.weight]), [NETWORK.head.bias, OWN.weight]),
        ("diagnostics", {"a": 1, "b": torch.tensor(2.5), "c": np.float32(0.5), "d": True}, {"a": 1, "b": 2.5, "c": 0.5, "d": 1}),
        ("diagnostics", {"a": torch.tensor(2.0, requires_grad=True)}, {"a": 2}),
        ("adapt", None, {}),
        ("adapt", {"moved": torch.tensor(3)}, {"moved": 3}),
    ],
)  # fmt: skip
def test_what_the_contract_knows_is_passed_on(hook, answer, wanted):
    found = asked(hook, answer)
    if hook == "trained":
        assert [id(one) for one in found] == [id(one) for one in wanted]
    else:
        assert found == wanted


def test_figures_are_asked_for_without_gradients_and_prepared_images_are_detached():
    graded = []
    asked("diagnostics", lambda *_: graded.append(torch.is_grad_enabled()) or {})
    assert graded == [False]
    weight = torch.ones((), requires_grad=True)
    assert not asked("prepare", lambda images, _: weight * images).requires_grad


def test_parameters_of_a_module_that_came_later_are_known_when_they_are_asked_for():
    """Some build a layer in prepare() or in a first step: what counts is what it is when it is returned."""
    modules = {}
    toy = answers(
        "trained", lambda network: [*network.parameters(), *(p for m in modules.values() for p in m.parameters())]
    )
    first = toy.trained(NETWORK, modules)
    modules["late"] = nn.Linear(1, 1)
    assert len(toy.trained(NETWORK, modules)) == len(first) + 2


def test_what_a_hook_raises_passes_through():
    def refuse(*_):
        raise HarnessError("too few samples")

    with pytest.raises(HarnessError, match=r"^too few samples$"):
        asked("remarks", refuse)


# -- what is refused --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hook", "answer", "got", "expected"),
    [
        ("remarks", "too few", 'the text "too few"', "an iterable of texts: return a list of sentences"),
        ("remarks", None, "None", "an iterable of texts"),
        ("remarks", ["fine", 3], "an int among its remarks", "texts alone"),
        ("remarks", [" "], 'the text " " among its remarks', "texts alone"),
        ("modules", [OWN], "a list", 'a dict of names and modules: return {"name": module}'),
        ("modules", None, "None", "a dict of names and modules"),
        ("modules", {"a.b": OWN}, "a module named 'a.b'", "names and modules: name it by a text without a full stop"),
        ("modules", {3: OWN}, "a module named 3", "names and modules"),
        ("modules", {"a": torch.zeros(2)}, 'a tensor (2,) of torch.float32 as "a"', "names and modules: wrap tensors"),
        ("trained", [], "no parameter", "parameters of the network or of its modules(): return None to train all"),
        ("trained", [toy_network().head.bias], "a parameter (3,) of", "parameters of the network or of its modules()"),
        ("trained", ["head"], 'the text "head" that is', "parameters of the network or of its modules()"),
        ("trained", OWN.weight, "a parameter (1, 2)", "None or an iterable of parameters"),
        ("trained", 3, "an int", "None or an iterable of parameters"),
        ("weight_averaging", {"decay": 0.9}, "a dict", "None or a WeightAveraging: return WeightAveraging(decay=0.999)"),
        ("weight_averaging", WeightAveraging(decay=1.0), "decay 1", "one in [0, 1)"),
        ("weight_averaging", WeightAveraging(decay=-0.1), "decay -0.1", "one in [0, 1)"),
        ("weight_averaging", WeightAveraging(decay=None, start=1), "start 1", "a share in [0, 1)"),
        ("prepare", None, "None", "the images again, float32 (4, 1, 4, 4)"),
        ("prepare", torch.zeros(4, 1, 4, 4, dtype=torch.float64), "a tensor (4, 1, 4, 4) of torch.float64", "the images"),
        ("losses", torch.zeros(()), "a tensor () of torch.float32", "a dict of named losses, each a scalar tensor"),
        ("losses", {"loss": 0.5}, 'a float as the loss "loss"', "a dict of named losses"),
        ("losses", {"loss": torch.tensor(3)}, 'torch.int64 as the loss "loss", which has no gradient', "a dict of"),
        ("diagnostics", [1.0], "a list", 'a dict of names and finite numbers: return {"name": float(value)}'),
        ("diagnostics", None, "None", "a dict of names and finite numbers"),
        ("diagnostics", {"a": torch.zeros(2)}, 'a tensor (2,) of torch.float32 as "a"', "a dict of names and finite"),
        ("diagnostics", {"a": "3"}, 'the text "3" as "a"', "a dict of names and finite numbers"),
        ("diagnostics", {"a": None}, 'None as "a"', "a dict of names and finite numbers"),
        ("diagnostics", {"a": math.nan}, 'nan as "a"', "a dict of names and finite numbers: leave a figure out"),
        ("diagnostics", {"a": -math.inf}, '-inf as "a"', "a dict of names and finite numbers"),
        ("diagnostics", {1: 0.0}, "a figure named 1", "a dict of names and finite numbers"),
        ("adapt", [1.0], "a list", "a dict of names and finite numbers"),
    ],
)  # fmt: skip
def test_a_wrong_answer_is_refused_with_adapter_hook_got_and_expected(hook, answer, got, expected):
    with pytest.raises(ContractError) as caught:
        asked(hook, answer)
    assert str(caught.value).startswith(f'adapter "toy": {hook}() returned {got}')
    assert f"; expected {expected}" in str(caught.value)
    assert str(caught.value) == f'adapter "toy": {caught.value.fault}'


def test_losses_that_nothing_trains_are_refused_and_trained_is_named_where_it_chooses():
    detached = {"first": torch.zeros(()), "second": torch.ones(())}
    with pytest.raises(ContractError) as caught:
        asked("losses", detached)
    assert str(caught.value) == (
        'adapter "toy": none of its losses (first, second) depends on the network; compute them from the batches\' logits or '
        "features, undetached"
    )
    toy = answers("losses", detached)
    type(toy.adapter).trained = lambda _self, network: list(network.parameters())
    with pytest.raises(ContractError, match=r"undetached, and from what trained\(\) returns for this step$"):
        toy.losses(batch(LOGITS), batch(LOGITS))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda network: network.register_buffer("extra", torch.zeros(1)), "(extra)"),
        (lambda network: setattr(network, "head", nn.Linear(5, 2)), "(head.weight, head.bias)"),
        (
            lambda network: setattr(network, "body", nn.Flatten()),
            "(body.1.weight, body.1.bias, body.2.weight and 4 more)",
        ),
    ],
)
def test_a_network_with_other_parameters_is_refused_by_their_names(change, named):
    with pytest.raises(ContractError) as caught:
        asked("adapt", lambda network, *_: change(network) and None)
    assert f"adapt() left other parameters or buffers than the network had {named}; expected the same" in str(
        caught.value
    )


def test_weights_that_are_not_finite_are_refused():
    def spoil(network, *_):
        network.head.bias.data[1] = math.nan

    with pytest.raises(
        ContractError, match=r"^adapter \"toy\": adapt\(\) left weights that are not finite; expected finite"
    ):
        asked("adapt", spoil)


# -- in words ---------------------------------------------------------------------------------------------------------------


def test_only_scalars_with_a_gradients_type_are_losses():
    assert loss_fault({"a": torch.zeros(())}) is None
    assert loss_fault({"a": torch.tensor(math.nan)}) is None  # whether it diverged is another question
    assert loss_fault({}) == "an empty dict"
    assert loss_fault({1: torch.zeros(())}) == "a loss named 1, which is no text"


def test_long_texts_are_cut_and_kinds_have_their_article():
    assert shown("x" * 41) == f'the text "{"x" * 40}…"'
    assert [shown(value) for value in (None, [], 1)] == ["None", "a list", "an int"]
