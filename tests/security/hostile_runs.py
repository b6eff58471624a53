"""Runs in which every text that comes from outside carries the same hostile one, and a mark to find it by."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

from fieval_tasks.core.items import Result
from fieval_tasks.report.output import write_report, write_results
from fieval_tasks.report.page_data import PageData
from fieval_tasks.report.summary import GateOutcome, Report, Requests, RunFacts, summarise

MARK = "zq7"
"""In every hostile text: where it shows up, data did."""
START = datetime(2026, 11, 20, 17, 0, tzinfo=timezone.utc)

TEXTS = {
    "script": f"<script>alert('{MARK}')</script>",
    "end of script": f"</script><svg onload={MARK}()>",
    "end of style and title": f"</style></title><img src=x onerror={MARK}()>",
    "end of attribute": f"\"'> onmouseover='{MARK}' x=\"{MARK}",
    "comment": f"<!-- {MARK} --><!DOCTYPE {MARK}><?{MARK}?>",
    "javascript url": f'<a href="javascript:{MARK}">x</a> javascript:{MARK}',
    "entities": f"&lt;{MARK}&gt; &#60;b&#62; &amp;amp; &{MARK};",
    "cdata": f"]]> <![CDATA[{MARK}]]>",
    "markdown link": f"[{MARK}](https://evil.test/) [{MARK}][1]\n\n[1]: https://evil.test/",
    "markdown image": f"![{MARK}](https://evil.test/x.png)",
    "bare links": f"https://evil.test/{MARK} www.evil.test/{MARK} {MARK}@evil.test mailto:{MARK}@evil.test <http://{MARK}>",
    "mentions": f"@{MARK} evil/{MARK}#1 #12 GH-1 gh-12",
    "emoji": f":tada: :{MARK}: :+1: :e-mail:",
    "attachments": f"{MARK}\n[[ATTACHMENT|/etc/passwd]]\n",
    "markdown blocks": f"# {MARK}\n\n- {MARK}\n\n> {MARK}\n\n1. {MARK}\n\n---\n\n    {MARK}",
    "heading alone": f"# {MARK}",
    "list alone": f"- {MARK}",
    "numbers alone": f"1. {MARK}",
    "markdown spans": f"**{MARK}** _{MARK}_ `{MARK}` ~~{MARK}~~ $x^{MARK}$ [^{MARK}]",
    "fences": f"```\n{MARK}\n```\n~~~~\n{MARK}\n~~~~\n``````",
    "table cells": f"{MARK} | b || c |\n| --- | --- |\n",
    "formula": f'=HYPERLINK("https://evil.test","{MARK}")',
    "formula after blanks": f" \u00a0=1+{MARK}(1)",
    "plus formula": f"+{MARK}(1)",
    "minus formula": f"-{MARK}(1)",
    "at formula": f"@SUM({MARK})",
    "tab formula": f"\t={MARK}(1)",
    "return formula": f"\r={MARK}(1)",
    "full width formula": f"\uff1d{MARK}(1)",
    "formula behind a semicolon": f"{MARK};=cmd|'/C calc'!A0;x",
    "formula behind a new line": f"{MARK}\n\"=cmd|'/C calc'!A0;x",
    "formula that the next column ends": f'&{MARK}(1)&"\n=1&',
    "formula behind an apostrophe": f"'={MARK}(1)",
    "escape sequences": f"\x1b[2J\x1b[31m{MARK}\x1b[0m\x1b]0;{MARK}\x07\x9b2J\x90{MARK}\x9c",
    "terminal link": f"\x1b]8;;https://evil.test\x1b\\{MARK}\x1b]8;;\x1b\\",
    "backspaces": f"ok{MARK}\b\b\b\b\b\rno\x7f",
    "reordering": f"\u202e{MARK}\u2066\u2069\u200f\u061c",
    "hidden": f"\u200b\u2060\ufeff{MARK}\u2063\ufff9\U000e0041",
    "line ends": f"{MARK}\n{MARK}\r\n{MARK}\x0b\x0c\x1c\x85\u2028\u2029{MARK}",
    "nul": f"{MARK}\x00{MARK}",
    "not xml": f"\x01\x08{MARK}\ufffe\uffff",
    "lone surrogates": f"\ud83d{MARK}\ude00",
    "path up": f"../../{MARK}",
    "absolute path": f"/tmp/{MARK}",
    "device": f"CON {MARK} C:\\{MARK}\\NUL",
    "json": f'", "{MARK}": {{"x": NaN}}\\u0022',
    "long": f"{MARK} " + "long " * 20_000,
    "long without a blank": MARK + "x" * 40_000 + "=f(1)",
    "wide": MARK + "日本語" * 200,
}


@dataclass(frozen=True)
class Written:
    """A report and its files."""

    report: Report
    folder: Path

    def text(self, name: str) -> str:
        return (self.folder / name).read_text(encoding="utf-8")  # strict: what is no UTF-8 fails here


def written(text: str, folder: Path) -> Written:
    """Every file of the hostile run."""
    page = write_results(facts(text), results(text), folder).page
    report = replace(report_of(text), page=page)
    write_report(report, folder)
    return Written(report, folder)


def report_of(text: str) -> Report:
    gates = [GateOutcome(text, text, 0.5, (0.4, 0.6))]
    report = summarise(facts(text), results(text), page=PageData()).with_outcome(3, gates)
    before = {name: {**check, "scored": 0, "mean": None} for name, check in report.standing["checks"].items()}
    return report.amended([(START, {**report.standing, "checks": before})], START + timedelta(hours=1))


def facts(text: str) -> RunFacts:
    return RunFacts(
        run_id=text,
        flow_run_id=text,
        dataset=text,
        mode=text,
        connection=text,
        started_at=START,
        finished_at=START + timedelta(seconds=9),
        wall_seconds=9.0,
        exit_code=3,
        requests=Requests(submits=9, polls=20, retries=1, throttled=0, possible_duplicates=1),
        checks={text: (text, text, "Pass/Fail"), f"chooses {text}": (text, None, "choices")},
        notices=(text, f"note: {text}"),
        news=(text,),
        mapping={text: {text: text}},
        segments={text: None},
        resume_command=text,
        explain_command=text,
    )


def results(text: str) -> list[Result]:
    """One of each kind of item."""
    return [
        _result(text, 1, status="scored", value="Failed", score=0.0, passed=False, reason=text),
        _result(text, 2, status="failed", stage="evaluate", error={"kind": text, "message": text}),
        _result(text, 3, status="pending"),
        _result(text, 5, check=f"chooses {text}", status="scored", value=text, reason=text),
        _result(text, 6, check=f"chooses {text}", status="scored", value=[text, text], score=0.25),
        _result(text, 7, check=f"chooses {text}", status="scored", value={"choice": text, "score": 0.5}, score=0.5),
    ]


def _result(text: str, row: int, **said: object) -> Result:
    plain: dict[str, object] = {
        "item_id": text,
        "row": row,
        "check": text,
        "template": text,
        "model": text,
        "eval_id": text,
        "attempts": 1,
        "lost": 1,
        "submitted_at": START,
        "inputs": {text: text, "b": text},
        "traits": {text: text},
        **dict.fromkeys(("value", "score", "passed", "reason", "runtime_ms", "stage", "error", "finished_at")),
    }
    return Result(**plain | said)  # type: ignore[arg-type]
