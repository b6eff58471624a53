"""Runs to report on: a small golden one, hostile ones, and any one at all."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

from hypothesis import strategies as st

from fieval_tasks.core.items import Result
from fieval_tasks.report.caps import CAPS, Caps
from fieval_tasks.report.differences import Comparison
from fieval_tasks.report.page_data import PageData
from fieval_tasks.report.summary import Report, Requests, RunFacts, summarise

START = datetime(2026, 11, 20, 17, 0, tzinfo=timezone.utc)
CHECKS = {
    "groundedness": ("groundedness", "turing_flash", "Pass/Fail"),
    "fluency": ("fluency", None, "score"),
    "tone": ("tone", "turing_small", "choices"),
}
HOSTILE = (
    "<script>alert(1)</script>",
    "</style></title><img src=x onerror=alert(1)>",
    "\"' onmouseover='alert(1)",
    "a | b || c",
    "**b** _i_ `c` ![i](http://x/y.png) [l](javascript:alert(1)) <b>b</b>",
    "```\nfence\n```\n# heading\n- list",
    "\x1b[31mred\x1b[0m \x1b]0;title\x07 \x9b2J",
    "\u202eright to left\u2066",
    "=HYPERLINK(1)",
    " =1+1",
    "+cmd|' /C calc'!A0",
    "-2+3",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "\uff1d1",
    "\x00=1",
    "half an emoji \ud83d, nul \x00, separators \u2028 \x85",
    "]]> &amp; &#0; &lt;",
    "日本語" * 20,
)

ANY_TEXT = st.one_of(st.sampled_from(HOSTILE), st.text(st.characters(), max_size=30))
SCORES = st.floats(0, 1)


def facts(**changes: Any) -> RunFacts:
    plain = RunFacts(
        run_id="amber-otter",
        flow_run_id=None,
        dataset="answers.csv",
        mode="async",
        connection="local",
        started_at=START,
        finished_at=START + timedelta(seconds=133),
        wall_seconds=133.0,
        exit_code=3,
        requests=Requests(submits=9, polls=20, retries=1, throttled=0, possible_duplicates=0),
        checks=CHECKS,
        notices=("local heuristics, not the platform's judges",),
        mapping={"groundedness": {"output": "answer"}},
        resume_command="python -m flows.evaluate --resume amber-otter",
    )
    return replace(plain, **changes)


def item(row: int, check: str = "groundedness", **changes: Any) -> Result:
    template, model, _ = CHECKS.get(check, (check, None, ""))
    unknown = dict.fromkeys(("value", "score", "passed", "reason", "runtime_ms", "stage", "error", "finished_at"))
    known = {
        "status": "pending",
        "eval_id": f"e-{row}",
        "attempts": 1,
        "submitted_at": START,
        "inputs": {"output": "An answer."},
    }
    told: dict[str, Any] = {**unknown, **known, **changes}
    return Result(**({"item_id": f"s-{row}", "row": row, "check": check, "template": template, "model": model} | told))


def judged(row: int, passed: bool, **changes: Any) -> Result:
    word = "Passed" if passed else "Failed"
    plain = item(
        row, status="scored", value=word, score=float(passed), passed=passed, reason="Because.", runtime_ms=1500.0
    )
    return replace(plain, **changes)


def scored(row: int, score: float, **changes: Any) -> Result:
    return replace(item(row, "fluency", status="scored", value=score, score=score, reason="So so."), **changes)


def failed(row: int, check: str = "groundedness", **changes: Any) -> Result:
    error = {"kind": "refused", "message": "output: may not be blank"}
    return item(row, check, **{"status": "failed", "stage": "submit", "error": error} | changes)


def small() -> list[Result]:
    """Four rows put to three checks."""
    return [
        judged(1, True),
        judged(2, False),
        judged(3, True),
        failed(4),
        scored(1, 0.5),
        scored(2, 1.0),
        scored(3, 0.25),
        item(4, "fluency"),
        item(1, "tone", status="scored", value="neutral"),
        item(2, "tone", status="scored", value=["joy", "love"]),
        item(3, "tone", status="scored", value={"choice": "neutral", "score": 1.0}),
        item(4, "tone", attempts=0, submitted_at=None),
    ]


def gathered(results: list[Result], caps: Caps = CAPS, comparison: Comparison | None = None) -> PageData:
    """What the page of such a run shows of its items."""
    page = PageData(comparison, caps)
    for result in results:
        page.add(result)
    return page


def reported(results: list[Result], **changes: Any) -> Report:
    """The report of such a run, with all that its page shows."""
    return summarise(facts(**changes), results, page=PageData())


def hostile() -> list[Result]:
    """Every field that can carry text carries a hostile one."""
    rows = [judged(row, row % 2 == 0) for row in range(len(HOSTILE))] + [failed(row) for row in range(len(HOSTILE))]
    return [_poisoned(row, text) for row, text in zip(rows, HOSTILE * 2, strict=True)]


def hostile_facts() -> RunFacts:
    text = " ".join(HOSTILE)
    same = dict.fromkeys(("run_id", "dataset", "connection", "resume_command", "explain_command"), text)
    checks, mapping = {text: (text, text, "Pass/Fail")}, {text: {text: text}}
    return facts(requests=Requests(possible_duplicates=1), checks=checks, mapping=mapping, notices=(text,), **same)


def _poisoned(result: Result, text: str) -> Result:
    check = " ".join(HOSTILE)
    error = {"kind": text, "message": text * 9} if result.error else None
    inputs = {text: text * 40}
    same = dict.fromkeys(("item_id", "template", "reason", "value", "eval_id"), text)
    return replace(result, check=check, error=error, inputs=inputs, **same)


@st.composite
def results(draw: st.DrawFn) -> Result:
    """Any one result that the ledger could hold."""
    row, check = draw(st.integers(1, 99)), draw(st.sampled_from(list(CHECKS)))
    status = draw(st.sampled_from(["scored", "failed", "pending"]))
    text = draw(ANY_TEXT)
    if status == "failed":
        return failed(row, check, error={"kind": draw(st.sampled_from("ab")), "message": text}, item_id=text)
    if status != "scored":
        return item(row, check, status=status)
    if check == "groundedness":
        return judged(row, draw(st.booleans()), reason=text, item_id=text)
    if check == "fluency":
        return scored(row, draw(SCORES), reason=text)
    values = st.one_of(
        ANY_TEXT, st.lists(ANY_TEXT, max_size=3), st.fixed_dictionaries({"choice": ANY_TEXT, "score": SCORES})
    )
    return item(row, check, status="scored", value=draw(values))


RUNS = st.lists(results(), max_size=25)
