"""Options of plugins that stand in no file: refused in the sentences that specs are refused in, and in none of pydantic's."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Literal

import pytest
from pydantic import Field, model_validator

from harness.contract import FractionalFloat, NoOptions, Options
from harness.errors import UsageError
from harness.manager import PluginName
from harness.plugin_options import parse_options, validated_options

PLUGIN = PluginName("attack", "walk", "toys", "toy-attacks", "1.0", "toys:Walk")


class Schedule(Options):
    length: int = Field(default=3, ge=1)


class WalkOptions(Options):
    table: str = Field(description="The file with the steps.")
    eps: FractionalFloat = Field(default=0.1, gt=0, le=1)
    steps: int = Field(default=5, ge=1)
    mode: Literal["up", "down"] = "up"
    quick: bool = False
    schedule: Schedule = Schedule()
    places: tuple[int, ...] = Field(default=(), max_length=2)
    largest: float | None = Field(default=None, description="Cap.")

    @model_validator(mode="after")
    def _fits(self):
        if self.steps > 100 and self.quick:
            raise ValueError("quick takes at most 100 steps; lower steps or leave quick out")
        return self


WALK = SimpleNamespace(options_type=WalkOptions)


def refusal(**options):
    with pytest.raises(UsageError) as refused:
        validated_options(PLUGIN, WALK, {"table": "a", **options})
    assert refused.value.exit_code == 2
    return str(refused.value)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"epz": 1}, 'unknown option "epz"; did you mean "eps"?'),
        (
            {"width": 1},
            'unknown option "width"; expected eps, largest, mode, places, quick, schedule, steps or table',
        ),
        ({"eps": "wide"}, 'eps: got "wide", expected a number or a fraction such as 8/255'),
        ({"eps": 2}, "eps: got 2, expected a number of at most 1"),
        ({"eps": 0}, "eps: got 0, expected a number greater than 0"),
        ({"steps": "many"}, 'steps: got "many", expected a whole number'),
        ({"steps": 1.5}, "steps: got 1.5, expected a whole number"),
        ({"steps": None}, "steps: got nothing, expected a whole number"),
        ({"mode": "dwn"}, 'mode: got "dwn", expected up or down; did you mean "down"?'),
        ({"quick": "perhaps"}, 'quick: got "perhaps", expected true or false'),
        ({"schedule": {"length": 0}}, "schedule.length: got 0, expected a number of at least 1"),
        ({"schedule": {"lenth": 0}}, 'schedule: unknown option "lenth"; did you mean "length"?'),
        ({"places": [1, 2, 3]}, "places: got a list, expected at most 2 entries"),
        ({"places": [1, "x"]}, 'places[1]: got "x", expected a whole number'),
        ({"largest": "huge"}, 'largest: got "huge", expected a number'),
        ({"steps": 101, "quick": True}, "quick takes at most 100 steps; lower steps or leave quick out"),
    ],
)
def test_what_does_not_fit_is_said_with_what_was_got_and_expected(options, said):
    assert refusal(**options) == f'attack "walk": {said}'
    for pydantics in ("Input should", "input should", "Extra inputs", "Value error", "unable to parse"):
        assert pydantics not in said


def test_every_option_that_does_not_fit_has_its_line_in_the_order_given():
    assert refusal(steps=0, epz=1, eps=2).splitlines() == [
        'attack "walk": steps: got 0, expected a number of at least 1',
        'attack "walk": unknown option "epz"; did you mean "eps"?',
        'attack "walk": eps: got 2, expected a number of at most 1',
    ]


def test_an_option_that_has_no_default_is_asked_for_by_what_it_is():
    with pytest.raises(UsageError) as refused:
        validated_options(PLUGIN, WALK, {})
    assert str(refused.value) == 'attack "walk": the option "table" is missing; expected the file with the steps'


def test_a_plugin_without_options_says_that_it_expects_none():
    with pytest.raises(UsageError, match='unknown option "eps"; no option is expected here'):
        validated_options(PLUGIN, SimpleNamespace(options_type=NoOptions), {"eps": 1})


def test_what_fits_is_validated_and_options_are_taken_as_they_are():
    options = validated_options(PLUGIN, WALK, {"table": "a", "eps": "1/4", "schedule": {"length": 7}})
    assert (options.eps, options.steps, options.schedule.length) == (0.25, 5, 7)
    assert validated_options(PLUGIN, WALK, options) is options


def test_a_command_line_writes_values_as_a_spec_does_and_is_refused_in_the_same_words():
    options = parse_options(PLUGIN, WALK, ["table=a=b", "eps=8/255", "quick=true", "schedule={length: 2}"])
    assert (options.table, options.eps, options.quick, options.schedule.length) == ("a=b", 8 / 255, True, 2)
    for written, given in (("eps=wide", {"eps": "wide"}), ("epz=1", {"epz": 1}), ("steps=0", {"steps": 0})):
        with pytest.raises(UsageError) as refused:
            parse_options(PLUGIN, WALK, ["table=a", written])
        assert str(refused.value) == refusal(**given)


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("eps", '--option "eps": expected KEY=VALUE, KEY one of table, eps, steps, mode'),
        ("eps=[1", '--option eps: "[1" cannot be read as YAML'),
    ],
)
def test_what_is_no_key_and_value_is_refused(written, said):
    with pytest.raises(UsageError) as refused:
        parse_options(PLUGIN, WALK, [written])
    assert str(refused.value).startswith(said)
