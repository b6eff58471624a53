"""What one evaluation may use: inputs made to be slow or large end as failed rows, and nobody else waits for them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from fieval_tasks.local.catalogue import CATALOGUE, CatalogueEntry
from fieval_tasks.local.jobs import Job
from fieval_tasks.local.process import LONGEST_REASON
from fieval_tasks.local.scorer import Broken, Closed, ScoringLimits, ScoringProcess, _started
from fieval_tasks.local.validation import LARGEST_PACK
from fieval_tasks.local.verdicts import NoInput, Unscorable
from tests.conftest import PATIENCE
from tests.local.local_evaluator import GET_EVALS, NEW_EVAL, an_app, client_of, in_process, settled

MEGABYTE = 2**20
COMMENTS = {"eval_name": "is_html", "inputs": {"text": "<!--" * (MEGABYTE // 4)}}
HOSTILE: dict[str, dict[str, Any]] = {
    "comments that never end": COMMENTS,
    "a pattern that does not end": {
        "eval_name": "regex", "inputs": {"text": "a" * 60 + "!"}, "config": {"params": {"pattern": "^(a|aa)+$"}},
    },
    "a transcript of long words": {
        "eval_name": "chrf_score",
        "inputs": {"reference": "ab" * MEGABYTE, "hypothesis": " ".join(map(str, range(200_000)))},
    },
}  # fmt: skip
SMALL = ScoringLimits(cpu_seconds=0.5, memory=256 * MEGABYTE)
GOOD = {"eval_name": "is_json", "inputs": {"text": "[1]"}}


@contextmanager
def scorer(limits: ScoringLimits = SMALL) -> Iterator[ScoringProcess]:
    made = ScoringProcess(limits)
    try:
        yield made
    finally:
        made.close()


def asked(template: str, text: str = "[1]", **params: Any) -> Job:
    inputs = dict.fromkeys(CATALOGUE[template].required_keys, text)
    return Job(template, inputs, params)


async def submitted(client: httpx.AsyncClient, body: dict[str, Any]) -> list[str]:
    reply = await client.post(NEW_EVAL, json={**body, "is_async": True})
    return [entry["eval_id"] for entry in reply.json()["result"][0]["evaluations"]]


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE.keys())
async def test_a_hostile_input_is_a_failed_row_that_says_why_and_a_400_when_sync(body: dict[str, Any]) -> None:
    async with in_process(limits=SMALL, workers=1) as client:
        (eval_id,) = await submitted(client, body)
        row = (await settled(client, eval_id))["result"]
        assert row["value"] is None
        assert "the local evaluator's limit" in row["error_message"]
        reply = await client.post(NEW_EVAL, json=body, timeout=PATIENCE)
        assert (reply.status_code, reply.json()["detail"]) == (400, row["error_message"])
        (next_one,) = await submitted(client, GOOD)
        assert (await settled(client, next_one))["result"]["value"] == "Passed"


async def test_others_are_answered_while_a_hostile_evaluation_runs() -> None:
    async with in_process(limits=ScoringLimits(cpu_seconds=5), workers=2) as client:
        (eval_id,) = await submitted(client, COMMENTS)
        assert (await client.get(GET_EVALS)).status_code == 200
        assert (await client.post(NEW_EVAL, json=GOOD)).json()["result"][0]["evaluations"][0]["output"] == "Passed"
        (other,) = await submitted(client, GOOD)
        assert (await settled(client, other))["eval_status"] == "completed"
        state = (await client.get(NEW_EVAL, params={"eval_id": eval_id})).json()["result"]
        assert state["eval_status"] in ("pending", "processing")


@pytest.mark.parametrize("value", ["x", ["x"]], ids=["strings", "lists"])
async def test_a_pack_has_a_cap(client: httpx.AsyncClient, value: Any) -> None:
    for count, status in ((LARGEST_PACK, 200), (LARGEST_PACK + 1, 400), (300_000, 400)):
        reply = await client.post(NEW_EVAL, json={"eval_name": "is_json", "inputs": {"text": [value] * count}})
        assert reply.status_code == status
    told = reply.json()["details"]["inputs"]
    assert told == [f"Input lists cannot have more than {LARGEST_PACK} items, but found length 300000."]


async def test_a_pack_ends_with_its_first_item_that_has_no_verdict() -> None:
    async with in_process(limits=SMALL, workers=1) as client:
        inputs = {"text": [COMMENTS["inputs"]["text"], *["[1]"] * 50]}
        reply = await client.post(NEW_EVAL, json={"eval_name": "is_html", "inputs": inputs}, timeout=PATIENCE)
        assert "took more than 0.5 s of computing" in reply.json()["detail"]


# -- every template ------------------------------------------------------------------------------------------------

SIZE = MEGABYTE // 4
TRAPS = {
    "brackets": "[" * (SIZE // 2) + "]" * (SIZE // 2),
    "markup": "<!--" * (SIZE // 4),
    "sentences": " ".join(f"Paris{n} has {n} people, and I won't." for n in range(SIZE // 34)),
    "letters": "e\u0301" * (SIZE // 2),
    "numbers": json.dumps(list(range(SIZE // 7))),
    "entities": '<!DOCTYPE a [<!ENTITY a "aa"><!ENTITY b "&a;&a;">]><a>&b;</a>',
}


@pytest.fixture(scope="module")
def narrow() -> Iterator[ScoringProcess]:
    with scorer(ScoringLimits(cpu_seconds=0.1, memory=256 * MEGABYTE)) as made:
        yield made


@pytest.mark.parametrize("template", CATALOGUE.values(), ids=CATALOGUE.keys())
def test_whatever_the_input_a_template_ends_within_the_limits(narrow: ScoringProcess, template: CatalogueEntry) -> None:
    params = {name: rule.get("default") or _least(rule) for name, rule in (template.parameters or {}).items()}
    for trap in TRAPS.values():
        try:
            verdict, _ = narrow.score(asked(template.name, trap, **params))
        except (NoInput, Unscorable):
            continue
        assert len(verdict.reason) <= LONGEST_REASON + 40
    assert narrow.score(asked("is_json"))[0].value == "Passed", "the next one is none the worse for it"


def _least(rule: Any) -> Any:
    return rule.get("minimum", 1) if rule["type"] != "string" else "1"


# -- the process ---------------------------------------------------------------------------------------------------


def process_of(made: ScoringProcess) -> subprocess.Popen[bytes]:
    assert made._process is not None
    return made._process


def is_gone(process: subprocess.Popen[bytes]) -> bool:
    """It has ended, and left no zombie: somebody has waited for it."""
    try:
        os.kill(process.pid, 0)
    except ProcessLookupError:
        return process.returncode is not None
    return False


def test_a_process_scores_many_evaluations_and_is_replaced_after_a_hostile_one() -> None:
    with scorer() as made:
        made.score(asked("is_json"))
        first = process_of(made)
        made.score(asked("is_json"))
        assert process_of(made) is first
        with pytest.raises(Unscorable, match=r"more than 0\.5 s of computing"):
            made.score(asked("is_html", COMMENTS["inputs"]["text"]))
        assert is_gone(first)
        made.score(asked("is_json"))
        assert process_of(made).pid != first.pid
    assert is_gone(process_of(made))


def test_a_process_that_makes_no_headway_is_ended() -> None:
    with scorer() as made:
        made.score(asked("is_json"))  # to start takes a busy machine longer than the limit of this test
        made._limits = ScoringLimits(seconds=0.3)
        stopped = process_of(made)
        stopped.send_signal(signal.SIGSTOP)
        with pytest.raises(Unscorable, match=r"no verdict within 0\.3 s"):
            made.score(asked("is_json", "x" * MEGABYTE))
        assert is_gone(stopped)


def test_a_process_goes_with_its_parent() -> None:
    with scorer() as made:
        made.score(asked("is_json"))
        process = process_of(made)
        assert process.stdin is not None
        process.stdin.close()  # as the end of the parent does
        assert process.wait(PATIENCE) == 0


def test_a_process_that_somebody_ended_costs_no_evaluation() -> None:
    with scorer() as made:
        made.score(asked("is_json"))
        process_of(made).kill()
        process_of(made).wait()
        assert made.score(asked("is_json"))[0].value == "Passed"


def test_what_is_too_large_to_be_read_is_told_as_such(capfd: pytest.CaptureFixture[str]) -> None:
    with scorer(ScoringLimits(memory=64 * MEGABYTE)) as made, pytest.raises(Unscorable, match="64 MiB of memory"):
        made.score(asked("is_json", "x" * (100 * MEGABYTE)))
    assert capfd.readouterr() == ("", "")


def test_a_process_that_can_not_start_is_a_fault_and_no_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fieval_tasks.local.scorer._BOOT", "raise SystemExit(3)")
    with scorer() as made, pytest.raises(Broken, match="exit code 3"):
        made.score(asked("is_json"))


def test_a_reason_is_told_to_some_length() -> None:
    with scorer() as made:
        verdict, _ = made.score(asked("contains", "x" * MEGABYTE, keyword="y" * MEGABYTE))
    assert verdict.reason.endswith("(1,048,606 characters in all)")
    assert len(verdict.reason) < 11_000


def test_who_is_closed_scores_no_more() -> None:
    with scorer() as made:
        made.close()
        with pytest.raises(Closed):
            made.score(asked("is_json"))


async def test_closing_cuts_off_what_is_scored_and_leaves_its_row_pending(tmp_path: Path) -> None:
    database = tmp_path / "evaluations.db"
    app = an_app(database=database, limits=ScoringLimits(cpu_seconds=600))
    async with client_of(app) as client:
        (eval_id,) = await submitted(client, COMMENTS)
        while (await client.get(NEW_EVAL, params={"eval_id": eval_id})).json()["result"]["eval_status"] != "processing":
            pass
        scorers = weakref.finalize.peek(app.state.evaluator._release)[2][0]
        while not (processes := [each._process for each in scorers if each._process is not None]):
            pass
        [process] = processes
        await app.state.evaluator.aclose()
    assert is_gone(process)
    async with in_process(database=database, limits=SMALL) as client:
        row = (await settled(client, eval_id))["result"]
        assert "0.5 s of computing" in row["error_message"], "taken up again, as it was left"


def test_what_scores_a_hostile_row_is_given_no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[dict[str, str]] = []
    monkeypatch.setenv("FI_API_KEY", "a-key-of-mine")
    monkeypatch.setenv("FI_SECRET_KEY", "a-secret-of-mine")
    monkeypatch.setattr(subprocess, "Popen", lambda *_, env, **__: given.append(env))
    _started(ScoringLimits())
    assert "PATH" in given[0]
    assert not {"FI_API_KEY", "FI_SECRET_KEY"} & given[0].keys()
