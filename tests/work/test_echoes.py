"""What a server may do to an item's inputs before it tells them again, and what makes them another item's."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieval_tasks.work.echoes import SHORTEST_CUT, Match, digest, match
from tests.api.test_wire import GOLDEN

TEXT = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), min_size=1).filter(str.strip)
INPUTS = st.dictionaries(st.sampled_from(["output", "expected_text", "context"]), TEXT, min_size=1)
LONG = "word " * 200


def own_inputs() -> dict[str, dict[str, str]]:
    """eval_id -> what was recorded as sent for it."""
    sent = {}
    for exchange in GOLDEN.values():
        if exchange["method"] == "POST" and exchange["status"] == 200:
            told = [e for group in exchange["response"]["result"] for e in group["evaluations"]]
            for n, evaluation in enumerate(told):
                inputs = exchange["request"]["inputs"]
                sent[evaluation["eval_id"]] = {k: v[n] if isinstance(v, list) else v for k, v in inputs.items()}
    return sent


def test_every_recorded_row_tells_what_was_sent() -> None:
    sent, compared = own_inputs(), 0
    for exchange in GOLDEN.values():
        result = exchange["response"].get("result") if isinstance(exchange["response"], dict) else None
        row = result.get("result") if isinstance(result, dict) else None
        if isinstance(row, dict) and row.get("eval_id") in sent and row["input_data"]:
            assert digest(row["input_data"]) == digest(sent[row["eval_id"]])
            compared += 1
    assert compared > 20


SAME: list[tuple[dict[str, str], dict[str, Any]]] = [
    ({"a": "x", "b": "y"}, {"b": "y", "a": "x"}),
    ({"a": " x\n"}, {"a": "x"}),
    ({"a": "x\r\ny"}, {"a": "x\ny"}),
    ({"expected_text": "x"}, {"expectedText": "x"}),
    ({"a": "x"}, {"a": "x", "b": "a default", "c": None}),
    ({"a": "1"}, {"a": 1}),
    ({"a": "1.0"}, {"a": 1}),
    ({"a": "0.5"}, {"a": 0.5}),
    ({"a": "true"}, {"a": True}),
    ({"a": "False"}, {"a": False}),
    ({"a": "007"}, {"a": 7}),
    ({"a": " .50"}, {"a": 0.5}),
    ({"a": "+5"}, {"a": 5.0}),
    ({"a": "x \t y"}, {"a": "x y"}),
    ({"a": '["x", "y"]'}, {"a": ["x", "y"]}),
    ({"a": '{"k": 1,"l":[2]}'}, {"a": {"l": [2], "k": 1}}),
    ({"a": '{"k": 1,"l":[2]}'}, {"a": '{"l": [2], "k": 1}'}),
    ({"a": "é"}, {"a": "é"}),
]
OTHER: list[tuple[dict[str, str], dict[str, Any]]] = [
    ({"a": "x", "b": "y"}, {"a": "y", "b": "x"}),
    ({"a": "x", "b": "y"}, {"a": "x", "b": "z"}),
    ({"a": "x", "b": "y"}, {"b": "z"}),
    ({"a": "x"}, {"a": 7}),
    ({"a": "1"}, {"a": "2"}),
    ({"a": "1"}, {"a": True}),
    ({"a": "True"}, {"a": False}),
    ({"a": "007"}, {"a": 70}),
    ({"a": "1e999999"}, {"a": 7}),
    ({"a": "x y"}, {"a": "xy"}),
    ({"a": "12345678901234567890"}, {"a": 12345678901234567891}),
    ({"a": "x"}, {"a": ["y", "z"]}),
    ({"a": LONG + "x"}, {"a": LONG + "y"}),
    ({"a": "xy"}, {"a": "x"}),
    ({"a": "my key is sk-abc"}, {"a": "your key is [secret]"}),
]
UNTOLD: list[tuple[dict[str, str], dict[str, Any]]] = [
    ({"a": "x"}, {}),
    ({"a": "x"}, {"a": None}),
    ({"a": "x"}, {"a": ""}),
    ({"a": "x"}, {"b": "y"}),
    ({"a": "x", "b": "y"}, {"a": "x"}),
    ({"a": "x"}, {"a": ["y", "x"]}),
    ({"a": "my key is sk-abc, and sk-abc it is"}, {"a": "my key is [secret], and [secret] it is"}),
    ({"a": LONG}, {"a": LONG[: SHORTEST_CUT + 9]}),
    ({"a": LONG}, {"a": LONG[: SHORTEST_CUT + 9] + "..."}),
]


@pytest.mark.parametrize(
    ("sent", "told", "found"),
    [(*pair, found) for found, pairs in zip(Match, (SAME, OTHER, UNTOLD), strict=True) for pair in pairs],
)
def test_what_is_the_same_what_is_another_items_and_what_can_not_be_told(
    sent: dict[str, str], told: dict[str, Any], found: Match
) -> None:
    assert match(sent, told) is found


@given(INPUTS)
def test_inputs_are_their_own_echo_however_json_carries_them(inputs: dict[str, str]) -> None:
    told = json.loads(json.dumps(dict(reversed(inputs.items()))))
    assert digest(told) == digest(inputs)
    assert match(inputs, told) is Match.SAME


@given(INPUTS, INPUTS)
def test_a_digest_never_says_the_same_of_what_differs(one: dict[str, str], other: dict[str, str]) -> None:
    def trimmed(inputs: dict[str, str]) -> dict[str, str]:
        return {key: value.strip() for key, value in inputs.items()}

    assert (digest(one) == digest(other)) == (trimmed(one) == trimmed(other))


JSON = st.recursive(st.none() | st.booleans() | st.floats() | st.text(), lambda part: st.lists(part, max_size=3))


@given(JSON)
def test_whatever_a_row_holds_is_compared(told: Any) -> None:
    assert match({"a": "x"}, {"a": told}) in Match
