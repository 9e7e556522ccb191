"""YAML is read as plain data whose places are known; what YAML can do beyond that is refused."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from harness.errors import SpecError
from harness.yamlio import parse_yaml, read_yaml

TEXT = """\
# a comment
name: digits
models:
  - small-cnn
  -   {card: r20, width: 3}
baseline: {lr: 8e-3,
           epochs: 0x10}
empty:
last: [a,  b]
"""


def places_by_hand() -> dict[tuple[str | int, ...], tuple[int, int]]:
    return {
        (): (2, 1),
        ("name",): (2, 7),
        ("models",): (4, 3),
        ("models", 0): (4, 5),
        ("models", 1): (5, 7),
        ("models", 1, "card"): (5, 14),
        ("models", 1, "width"): (5, 26),
        ("baseline",): (6, 11),
        ("baseline", "lr"): (6, 16),
        ("baseline", "epochs"): (7, 20),
        ("empty",): (8, 1),
        ("last",): (9, 7),
        ("last", 0): (9, 8),
        ("last", 1): (9, 12),
    }


def test_every_value_has_the_place_that_counting_gives():
    assert parse_yaml(TEXT, name="a.yaml").values == places_by_hand()


def test_every_key_has_the_place_that_counting_gives():
    keys = parse_yaml(TEXT, name="a.yaml").keys
    assert keys["baseline", "epochs"] == (7, 12)
    assert keys["models", 1, "width"] == (5, 19)
    assert keys["last",] == (9, 1)


def test_where_falls_back_to_the_nearest_part_that_is_in_the_file():
    document = parse_yaml(TEXT, name="a.yaml")
    assert document.where(("models", 1, "width")) == "a.yaml:5:26"
    assert document.where(("models", 1, "width"), key=True) == "a.yaml:5:19"
    assert document.where(("models", 1, "depth")) == "a.yaml:5:7"
    assert document.where(("nowhere", 3)) == "a.yaml:2:1"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("yes", "yes"),
        ("on", "on"),
        ("true", True),
        ("~", None),
        ("8e-3", 0.008),
        ("010", 10),
        ("1_000", 1000),
        ("1:30", "1:30"),
        ("2026-11-22", "2026-11-22"),
        ("8/255", "8/255"),
        ("'1'", "1"),
        ("-.inf", -math.inf),
        ("!!str 5", "5"),
        ("[]", []),
        ("{}", {}),
    ],
)
def test_scalars_are_those_of_yaml_1_2(text, value):
    data = parse_yaml(f"a: {text}\n", name="a.yaml").data["a"]
    assert data == value
    assert type(data) is type(value)


def test_alias_is_a_copy_of_what_its_anchor_names():
    data = parse_yaml("a: &x {b: [1]}\nc: *x\n", name="a.yaml").data
    assert data == {"a": {"b": [1]}, "c": {"b": [1]}}
    assert data["a"] is not data["c"]


def test_anchor_may_be_used_again():
    assert parse_yaml("a: &x 1\nb: &x 2\nc: *x\n", name="a.yaml").data == {"a": 1, "b": 2, "c": 2}


def test_every_problem_of_a_file_is_told_at_once():
    with pytest.raises(SpecError) as raised:
        parse_yaml("a: !x 1\nb: 1\nb: 2\n3: c\n", name="a.yaml")
    assert [line.split(": ")[0] for line in str(raised.value).splitlines()] == [
        "a.yaml:1:4",
        "a.yaml:3:1",
        "a.yaml:4:1",
    ]


def test_byte_order_mark_is_no_part_of_the_first_key(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_bytes("\ufeffname: a\r\nseeds: [1]\r\n".encode())
    assert read_yaml(path).data == {"name": "a", "seeds": [1]}


def test_file_that_cannot_be_read_says_why(tmp_path):
    with pytest.raises(SpecError, match=r"a\.yaml: cannot be read: No such file or directory; expected a YAML file"):
        read_yaml(tmp_path / "a.yaml", name="a.yaml")


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.sampled_from(["a", "8/255", "no", "1", "x y"]),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["k", "name", "1", "no"]), inner, max_size=3)
        ),
        max_leaves=10,
    )
)
def test_data_written_by_a_peer_are_read_as_they_were(data):
    from io import StringIO

    stream = StringIO()
    YAML(typ="safe", pure=True).dump({"data": data}, stream)
    assert parse_yaml(stream.getvalue(), name="a.yaml").data == {"data": data}
