"""What is done about each error: one table, read by the engine, the docs and the tests.

`python -m fieval_tasks.core.policy` prints it as Markdown.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Literal

from fieval_tasks.core.errors import ApiError, Miscounted

OnLostReply = Literal["resubmit", "fail", "ask"]
"""What to do with an item whose submission may have been accepted, though no reply came."""
OnStuck = Literal["wait", "resubmit"]
"""What to do with an evaluation that is pending long after later ones have finished."""

# A server may need a moment until a GET finds what a POST has created.
GRACE_FOR_UNKNOWN = 30.0
"""Seconds for which a new ticket may be unknown to the server."""
# A server that has lost a few evaluations knows nearly all others; a server that was replaced, or one asked with other
# keys, knows next to none. So unknown tickets stop the run where both bounds are passed, and else only fail their items.
MANY_UNKNOWN = 10
"""Unknown tickets, older than GRACE_FOR_UNKNOWN, that stop the run,"""
SHARE_UNKNOWN = 0.1
"""if they are also more than this share of all tickets that were asked about."""
# A limit that refuses one item and lets others pass may be about the item's own words: waiting would never end.
OVERTAKEN = 10
"""Times that a hidden limit may refuse an item, while it lets others of its check pass, before the item fails."""
# Single broken answers happen at any proxy. A firewall may refuse some items, so only items sent alone count.
STRANGE_REPLIES = 10
"""Answers in a row that this API can't have given, before the run stops."""
# A restart or a deployment of the server is over by then.
SILENCE = 120.0
"""Seconds of failing questions, with no answer in between, after which the server counts as gone."""


class Signal(Enum):
    """What an error, or the lack of an answer, is a sign of: a row of the table. The values are the errors' kinds in results."""

    UNREACHABLE = "unreachable"
    LOST = "lost_reply"
    THROTTLED = "throttled"
    AWAY = "unavailable"
    SERVER_FAULT = "server_fault"
    REFUSED = "refused"
    UNKNOWN_ID = "not_found"
    TURNED_AWAY = "turned_away"
    KEYS_REFUSED = "keys_refused"
    NO_CREDIT = "insufficient_credits"
    STRANGE = "not_the_protocol"
    RATE_LIMITED = "rate_limited"
    KEPT_BACK = "kept_back"
    EVALUATION_ERROR = "evaluation_error"
    HOLLOW = "hollow"
    ORPHAN = "orphan"

    @classmethod
    def of(cls, kind: str) -> Signal:
        """By `ApiError.kind`, or the `Failed.kind` of an evaluation that failed."""
        return cls(_SAME_AS.get(kind, kind))


_SAME_AS = {"gateway_fault": "lost_reply", "unreadable_value": "hollow", "wrong_item": "hollow"}
"""Kind of error -> the kind of which the same is done."""


class Remedy(Enum):
    """What is done about a signal. The values are the words of docs/errors.md."""

    CONNECT_AGAIN = "connect again, after a while"
    WAIT_AND_SEND = "everyone pauses; sent again, and it costs no attempt"
    SEND_AGAIN = "sent again"
    SEND_AGAIN_AS_DUPLICATE = "sent again, and counted as a possible duplicate"
    UNPACK = "the items are sent one by one"
    ASK_AGAIN = "asked again later"
    REQUEUE = "back to the queue, at a slower pace; no failure"
    RESUBMIT = "submitted again"
    KEEP_WAITING = "flagged, and waited for"
    LEAVE_PENDING = "left pending, visibly"
    GIVE_UP_FOR_NOW = "left unsent; the chunk's task tries again after 8, 16 and 32 s"
    FAIL = "the item fails"
    STOP = "the run stops, exit 4; it can be resumed"


@dataclass(frozen=True)
class Course:
    """A remedy that is tried a number of times, and the remedy after that."""

    first: Remedy
    times: int | None = None
    """How often `first` is tried; None: without a bound (the item's timeout still ends it)."""
    then: Remedy | None = None
    """The remedy after `times`."""
    unpack: bool = False
    """The items of a pack are first sent one by one."""

    def after(self, faults: int, *, packed: bool = False) -> Remedy:
        """The remedy for a request that had so many faults before this one."""
        if packed and self.unpack:
            return Remedy.UNPACK
        return self.first if self.times is None or faults < self.times else self.then or self.first


@dataclass(frozen=True)
class Rule:
    """One row of the table."""

    shows_as: str
    """How the signal is recognised, for the docs."""
    means: str
    """What it says of the request or the item, for the docs."""
    submitting: Course | Mapping[str, Course] | None = None
    """What is done where a POST brought the signal; a mapping where `--on-lost-reply` decides."""
    asking: Course | Mapping[str, Course] | None = None
    """What is done where a GET brought the signal, or the evaluation that it asked for; a mapping where `--on-stuck` decides."""


_STOP = Course(Remedy.STOP)
_FAIL = Course(Remedy.FAIL)
_AMBIGUOUS = {
    "resubmit": Course(Remedy.SEND_AGAIN_AS_DUPLICATE, 1, Remedy.LEAVE_PENDING),
    "fail": _FAIL,
    "ask": Course(Remedy.LEAVE_PENDING),
}

POLICY: Mapping[Signal, Rule] = {
    Signal.UNREACHABLE: Rule(
        "connection refused, DNS or TLS failure, or a proxy that refuses CONNECT, before anything was sent",
        "not accepted",
        submitting=Course(Remedy.CONNECT_AGAIN, 5, Remedy.GIVE_UP_FOR_NOW),
        asking=Course(Remedy.ASK_AGAIN),
    ),
    Signal.LOST: Rule(
        "read timeout, reset, or a gateway's 502, 504, 520, 522 or 524 after sending",
        "ambiguous: perhaps accepted, perhaps paid",
        submitting=_AMBIGUOUS,
        asking=Course(Remedy.ASK_AGAIN),
    ),
    Signal.THROTTLED: Rule(
        "429, or 503 with Retry-After",
        "too fast",
        submitting=Course(Remedy.WAIT_AND_SEND),
        asking=Course(Remedy.ASK_AGAIN),
    ),
    Signal.AWAY: Rule(
        "503 without Retry-After, 521 or 523",
        "not accepted: the server is away, or perhaps an input",
        submitting=Course(Remedy.SEND_AGAIN, 5, Remedy.FAIL, unpack=True),
        asking=Course(Remedy.ASK_AGAIN),
    ),
    Signal.SERVER_FAULT: Rule(
        "500 and other 5xx",
        "perhaps an input, perhaps quota",
        submitting=Course(Remedy.SEND_AGAIN, 1, Remedy.FAIL, unpack=True),
        asking=Course(Remedy.ASK_AGAIN),
    ),
    Signal.REFUSED: Rule(
        "400 validation",
        "permanent for these inputs",
        submitting=Course(Remedy.FAIL, unpack=True),
        asking=_FAIL,
    ),
    Signal.UNKNOWN_ID: Rule(
        '400 "Evaluation not found."',
        f"unknown, which is fine for {GRACE_FOR_UNKNOWN:.0f} s; {MANY_UNKNOWN} such, and over {SHARE_UNKNOWN:.0%} of those "
        f"asked about, stop the run and fail nothing",
        submitting=Course(Remedy.FAIL, unpack=True),
        asking=_FAIL,
    ),
    Signal.TURNED_AWAY: Rule(
        "any other 3xx or 4xx, that is not in the API's own JSON",
        "not accepted: a firewall or a proxy took offence, perhaps at this item, or the address is wrong; "
        f"{STRANGE_REPLIES} in a row, of items that were sent alone, stop the run and fail none of these, unless the API answers "
        "a submission of nothing (to questions about a few items only: those are left pending)",
        submitting=Course(Remedy.FAIL, unpack=True),
        asking=Course(Remedy.ASK_AGAIN),
    ),
    Signal.KEYS_REFUSED: Rule("401, 403 in the API's own JSON", "the keys", submitting=_STOP, asking=_STOP),
    Signal.NO_CREDIT: Rule(
        '402 in the API\'s own JSON, or a row `failed` with "API call not allowed: insufficient_credits"',
        "no credit left",
        submitting=_STOP,
        asking=_STOP,
    ),
    Signal.STRANGE: Rule(
        "HTML, truncated JSON, or a shape that can't be read with 200; no eval_id for an item of a pack",
        f"not the protocol; a POST may have been accepted; {STRANGE_REPLIES} in a row stop the run (to questions about a few "
        "items only: those are left pending)",
        submitting=_AMBIGUOUS,
        asking=Course(Remedy.ASK_AGAIN),
    ),
    Signal.RATE_LIMITED: Rule(
        'a row `failed` with "API call not allowed: rate_limited"',
        "a hidden limit; where it lets most others of the check pass, perhaps the item's own words",
        asking=Course(Remedy.REQUEUE, OVERTAKEN, Remedy.FAIL),
    ),
    Signal.KEPT_BACK: Rule(
        "the same, five times or more, longer than `--item-timeout` after the item was sent first",
        "it has had its time",
        asking=Course(Remedy.LEAVE_PENDING),
    ),
    Signal.EVALUATION_ERROR: Rule(
        "a row `failed` with any other error, or without a value; 400 of a synchronous call, with neither `details` nor `errors`",
        "the evaluation itself failed; a synchronous call that did so carries one item, for it would keep from us what its "
        "neighbours were judged, and perhaps charged",
        submitting=Course(Remedy.RESUBMIT, 1, Remedy.FAIL),
        asking=Course(Remedy.RESUBMIT, 1, Remedy.FAIL),
    ),
    Signal.HOLLOW: Rule(
        "a row `completed` with neither reason nor runtime, or with a value that can't be read, or on another item's inputs",
        "no verdict: never a pass",
        asking=_FAIL,
    ),
    Signal.ORPHAN: Rule(
        "pending far beyond this run's own times, while later ones finish",
        "perhaps forgotten by the server",
        asking={
            "wait": Course(Remedy.KEEP_WAITING, None),
            "resubmit": Course(Remedy.RESUBMIT, 1, Remedy.KEEP_WAITING),
        },
    ),
}


# "Unable to generate a response at this time. Please check your input for accuracy." does not belong here: the server
# says so of a judge's reply that held no JSON, and the next reply may hold some.
HOPELESS = re.compile("No input received for ")
"""How the message of an evaluation error begins that every further try would meet again."""


def on_submitting(error: ApiError, *, faults: int, packed: bool, ambiguous: OnLostReply = "resubmit") -> Remedy:
    """The remedy for a POST that brought no ticket. `faults`: this request's earlier faults."""
    return _chosen(POLICY[Signal.of(error.kind)].submitting, ambiguous).after(faults, packed=packed)


def on_asking(error: ApiError, *, age: float) -> Remedy:
    """The remedy for a GET that failed. `age`: seconds since the submission."""
    sign = Signal.of(error.kind)
    if sign is Signal.UNKNOWN_ID and age < GRACE_FOR_UNKNOWN:
        return Remedy.ASK_AGAIN
    return _chosen(POLICY[sign].asking).after(0)


def is_answer(error: ApiError) -> bool:
    """Whether the API itself gave this error. If not (no reply, a gateway's, HTML, 5xx), the server may be away."""
    is_none = Signal.of(error.kind) in (
        Signal.UNREACHABLE, Signal.LOST, Signal.STRANGE, Signal.AWAY, Signal.SERVER_FAULT
    )  # fmt: skip
    return not is_none or isinstance(error, Miscounted)


def on_judgement(kind: str, message: str, *, redone: int) -> Remedy:
    """The remedy for an evaluation that the server ran and that failed. `redone`: earlier resubmissions of the item."""
    course = _chosen(POLICY[Signal.of(kind)].asking)
    hopeless = HOPELESS.match(message) is not None
    return Remedy.FAIL if hopeless and course.first is Remedy.RESUBMIT else course.after(redone)


def on_setback(overtaken: int, *, had_its_time: bool) -> Remedy:
    """The remedy for an item that a hidden limit refused.

    `overtaken`: how often that happened while the limit let most other items pass; `had_its_time`: the item has been
    refused for longer than `--item-timeout`.
    """
    return _chosen(POLICY[Signal.KEPT_BACK if had_its_time else Signal.RATE_LIMITED].asking).after(overtaken)


def on_orphan(policy: OnStuck, *, redone: int) -> Remedy:
    """The remedy for an evaluation that is still pending long after later ones have finished."""
    return _chosen(POLICY[Signal.ORPHAN].asking, policy).after(redone)


def _chosen(said: Course | Mapping[str, Course] | None, choice: str = "") -> Course:
    assert said is not None, "such a call never brings this signal"
    return said[choice] if isinstance(said, Mapping) else said


# -- the table as text ---------------------------------------------------------------------------------------------


def as_markdown() -> str:
    """The table in Markdown, a row for each signal: docs/errors.md holds it."""
    lines = ["| signal | what it means | after a POST | after a GET |", "|---|---|---|---|"]
    lines += [
        f"| {rule.shows_as} | {rule.means} | {_cell(rule.submitting)} | {_cell(rule.asking)} |"
        for rule in POLICY.values()
    ]
    return "\n".join(lines) + "\n"


def _cell(course: Course | Mapping[str, Course] | None) -> str:
    if course is None:
        return ""
    if isinstance(course, Course):
        return _course_text(course)
    option = "--on-lost-reply" if course is _AMBIGUOUS else "--on-stuck"
    return "; ".join(f"`{option} {name}`: {_course_text(chosen)}" for name, chosen in course.items())


def _course_text(course: Course) -> str:
    words = "with neighbours: the items are sent one by one; alone: " if course.unpack else ""
    words += course.first.value
    if course.times is not None and course.then is not None:
        often = "once" if course.times == 1 else f"up to {course.times} times"
        words += f", {often}; then {course.then.value}"
    return words


if __name__ == "__main__":
    print(as_markdown(), end="")
