"""An item's biography: all that happened to it, in order, and nothing of it steers a terminal."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fieval_tasks.core.command_lines import command
from fieval_tasks.core.errors import ExitCode, PlanError
from fieval_tasks.core.items import Failed, Item, Scored, Ticket
from fieval_tasks.ledger.changes import Asked, Change, Decided, Noted, ReplyLost, Requeued, Sending, Submitted
from fieval_tasks.ledger.run import CheckRecord, Run
from fieval_tasks.ledger.store import Ledger
from fieval_tasks.report.text import INVISIBLE
from fieval_tasks.runs.biography import MEANINGS, as_fields, as_json, as_text, biographies
from flows.cli.command import explain_command
from flows.explain import explain
from tests.conftest import PATIENCE

NOON = datetime(2026, 8, 1, 12, tzinfo=timezone.utc)
CHECKS = tuple(
    CheckRecord(name, name, "turing_flash", {}, "choices", {"output": "answer"}) for name in ("tone", "bias")
)
RUN = Run("sunny-otter", NOON, "answers.csv", "f" * 64, "async", "local", CHECKS, {}, ())
PASSED = Scored("Passed", 1.0, True, "It is polite.", 12.5)


def after(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def an_item(seq: int, check: str = "tone", **fields: object) -> Item:
    known = Item(seq, f"id-{seq}", seq + 1, check, check, "turing_flash", {"output": f"text {seq}"}, f"{seq:064}")
    return replace(known, **fields)  # type: ignore[arg-type]


def begun(ledger: Ledger, *items: Item, run: Run = RUN) -> Run:
    return ledger.create(run, ((item, None) for item in items), chunk_size=3)


def troubled(ledger: Ledger) -> Run:
    """One item that went through much before it was scored."""
    run = begun(ledger, an_item(0), an_item(1))
    life: list[Change] = [
        Sending((0,), after(1)),
        ReplyLost((0,)),
        Noted((0,), "lost_reply", "no answer in 30 s", after(31)),
        Sending((0,), after(33)),
        Submitted((Ticket(0, "first"),), after(34)),
        Noted((0,), "rate_limited", "first: API call not allowed", after(40)),
        Requeued(0, counts=True),
        Asked(0, 3),
        Sending((0,), after(100)),
        Submitted((Ticket(0, "second"),), after(101)),
        Decided(0, PASSED, after(105.5), polls=2),
    ]
    ledger.book(run.run_id).apply(life)
    return run


def test_a_life_is_told_in_the_order_of_time_with_what_it_cost(ledger: Ledger) -> None:
    run = troubled(ledger)
    (told,) = biographies(ledger, run, "id-0")
    assert [(happening.at, happening.event) for happening in told.history] == [
        (NOON, "written"),
        (after(31), "lost_reply"),
        (after(40), "rate_limited"),
        (after(100), "sent"),
        (after(101), "submitted"),
        (after(105.5), "scored"),
    ]
    assert told.cost == {
        "posts": 3,
        "polls": 5,
        "lost": 1,
        "given_up": 0,
        "redone": 1,
        "possible_duplicates": 1,
    }
    text = as_text(told)
    for said in (
        "id-0: row 1 of answers.csv, run sunny-otter",
        'output = "text 0"',
        f"12:00:31.000         +31.0 s  {MEANINGS['lost_reply']}; no answer in 30 s",
        "taken by the server: eval_id second",
        "Passed, score 1, passed: It is polite.",
        "cost: 3 POSTs carried it, asked about 5 times, sent again 1 time after the server had taken it, "
        "1 reply lost: 1 possible duplicate",
    ):
        assert said in text
    assert "now:" not in text


def test_what_an_item_waits_for_is_said_while_it_has_no_verdict(ledger: Ledger) -> None:
    run = begun(ledger, *(an_item(seq) for seq in range(5)))
    sent = Sending((1, 2, 3, 4), after(1))
    ticket = Submitted((Ticket(3, "eval"), Ticket(4, "gone")), after(2))
    ledger.book(run.run_id).apply([sent, ReplyLost((2,)), ticket, Requeued(4)])
    now = [as_text(biographies(ledger, run, f"id-{seq}")[0]).partition("now: ")[2] for seq in range(5)]
    assert [line.split(",")[0].split(";")[0].split(":")[0].partition("\n")[0] for line in now] == [
        "waits to be sent",
        "is being sent",
        "may have been accepted",
        "waits for its verdict",
        "waits to be sent again",
    ]


def test_a_lost_reply_is_no_duplicate_while_nothing_else_was_taken(ledger: Ledger) -> None:
    run = begun(ledger, an_item(0))
    for lost in (1, 2):
        ledger.book(run.run_id).apply([Sending((0,), after(lost)), ReplyLost((0,))])
        assert biographies(ledger, run, "id-0")[0].cost["possible_duplicates"] == lost - 1
    ledger.book(run.run_id).apply([Submitted((Ticket(0, "eval"),), after(3))])
    assert biographies(ledger, run, "id-0")[0].cost["possible_duplicates"] == 2


def test_every_check_of_an_item_is_told_and_a_row_names_it_too(ledger: Ledger) -> None:
    run = begun(ledger, an_item(0, item_id="a"), an_item(1, "bias", item_id="a", row=1), an_item(2))
    for wanted in ("a", "row:1"):
        assert [told.past.item.check for told in biographies(ledger, run, wanted)] == ["tone", "bias"]
        assert explain("last", wanted, ledger.url).count("history") == 2


def test_an_id_that_looks_like_a_row_is_an_id_first(ledger: Ledger) -> None:
    run = begun(ledger, an_item(0), an_item(1, item_id="row:1"))
    assert [told.past.item.row for told in biographies(ledger, run, "row:1")] == [2]


def test_an_item_that_repeats_another_tells_which(ledger: Ledger) -> None:
    run = begun(ledger, an_item(0), an_item(1, same_as=0))
    (told,) = biographies(ledger, run, "id-1")
    assert "waits for the verdict of row 1, of which this one is a copy" in as_text(told)
    ledger.book(run.run_id).apply([Decided(0, PASSED, after(1)), Decided(1, PASSED, after(1))])
    (told,) = biographies(ledger, run, "id-1")
    assert "passed (given to row 1, of which this one is a copy)" in as_text(told)
    assert told.cost["posts"] == 0


def test_an_event_that_nobody_told_us_of_is_shown_as_it_is(ledger: Ledger) -> None:
    run = begun(ledger, an_item(0))
    ledger.book(run.run_id).apply(
        [Noted((0,), "moon_phase", "full", after(1)), Noted((0,), "throttled", "7", after(2))]
    )
    text = as_text(biographies(ledger, run, "id-0")[0])
    assert "moon_phase; full\n" in text
    assert f"{MEANINGS['throttled']}; 7 s\n" in text


def test_a_failure_is_told_with_its_stage_kind_and_message(ledger: Ledger) -> None:
    run = begun(ledger, an_item(0))
    ledger.book(run.run_id).apply([Decided(0, Failed("submit", "refused", "Missing required keys: a"), after(1))])
    assert "submit, refused: Missing required keys: a" in as_text(biographies(ledger, run, "id-0")[0])


@pytest.mark.parametrize("wanted", ["id-11", "row:99", "row:", "row:99999999999999999999", "", "\x1b[2J"])
def test_an_unknown_item_is_told_with_the_nearest_ids(ledger: Ledger, wanted: str) -> None:
    run = begun(ledger, *(an_item(seq) for seq in range(12) if seq != 11))
    with pytest.raises(PlanError, match=r"no item .* in run sunny-otter \(nearest are .*id-\d.*row:17\)") as told:
        biographies(ledger, run, wanted)
    assert "\x1b" not in str(told.value)


any_text = st.text(st.characters())
"""With escapes, half surrogate pairs and whatever else a row or a server may hold."""


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(any_text, any_text, any_text, any_text)
def test_no_text_from_outside_makes_a_line_of_its_own_or_steers_a_terminal(
    ledger: Ledger, key: str, value: str, said: str, reason: str
) -> None:
    item = an_item(0, item_id=f"x{said}"[:50], inputs={key: value})
    run = begun(ledger, item, run=replace(RUN, dataset=said))
    noted = Noted((0,), "refused", said, after(1))
    decided = Decided(0, replace(PASSED, value=value, reason=reason), after(2), reason)
    ledger.book(run.run_id).apply([noted, Submitted((Ticket(0, said or "e"),), after(1)), decided])
    told = biographies(ledger, run, "row:1")
    ledger.forget(run.run_id)
    text = as_text(told[0])
    assert text.count("\n") == 9
    assert len(text.splitlines()) == 9
    assert INVISIBLE.search(text.replace("\n", "")) is None
    assert as_json(told).replace("\n", "").isprintable()
    assert json.loads(as_json(told))[0]["inputs"] == {key: value}


def test_the_json_holds_everything_in_full(ledger: Ledger) -> None:
    run = troubled(ledger)
    (told,) = json.loads(explain("sunny-otter", "id-0", ledger.url, as_data=True))
    assert told == json.loads(json.dumps(as_fields(biographies(ledger, run, "id-0")[0])))
    assert (told["status"], told["state"], told["attempts"], told["eval_id"]) == ("scored", "scored", 3, "second")
    assert told["history"][1] == {
        "at": "2026-08-01T12:00:31.000000+00:00",
        "event": "lost_reply",
        "detail": "no answer in 30 s",
    }


# The command


def test_what_is_not_there_is_bad_input_and_nothing_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], ledger: Ledger
) -> None:
    troubled(ledger)
    missing = tmp_path / "no" / "ledger.db"
    for arguments, said in (
        (["last", "id-0", "--store", str(missing)], f"error: there is no ledger {missing}: name the one"),
        (["stormy-otter", "id-0", "--store", ledger.url], "error: no run 'stormy-otter'"),
        (["last", "id-7", "--store", ledger.url], "error: no item 'id-7'"),
    ):
        assert explain_command(arguments) == ExitCode.BAD_INPUT
        assert said in capsys.readouterr().err
    assert not missing.parent.exists()


@pytest.mark.parametrize("odd", ["--weird-id", "-x", "--", "--store", "a 'b' $c"])
def test_the_command_that_is_shown_finds_an_item_whatever_its_id_is(
    ledger: Ledger, odd: str, capsys: pytest.CaptureFixture[str]
) -> None:
    begun(ledger, an_item(0, item_id=odd))
    shown = command("explain", RUN.run_id, odd, store=ledger.url, last=1)
    assert explain_command(shlex.split(shown)[3:]) == 0
    assert capsys.readouterr().out.startswith(f"{odd}: row 1 of ")


def test_the_command_needs_no_prefect(ledger: Ledger) -> None:
    troubled(ledger)
    program = "import sys, flows.cli.command as e; e.explain_command(sys.argv[1:]); sys.exit('prefect' in sys.modules)"
    words = [sys.executable, "-c", program, "last", "id-0", "--store", ledger.url]
    done = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == explain("last", "id-0", ledger.url)
