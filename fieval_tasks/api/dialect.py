"""Changes in how a server words its replies during a run, as when it is being upgraded: notices for the report, no errors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fieval_tasks.api.wire import dicts, pick

_ALL_THE_SAME = ": perhaps it is being upgraded; every answer was read as it came"
SPELLING = "the server answered partly in {before}, partly in {now}" + _ALL_THE_SAME
OUTPUT_TYPE = "the server said of {about!r} that it gives {before!r}, and that it gives {now!r}" + _ALL_THE_SAME
MORE_THAN_SENT = "the server answered a request of one item with several evaluations, and only the first was asked for"

# A server that invents names without end must not fill the memory; further traits are not remembered.
MOST_TRAITS = 10_000
"""Traits that are remembered."""
# The longest in the catalogue have some forty.
LONGEST_NAME = 200
"""Characters of a template's name or an output type."""
# The envelope, its result, and the row in that. Below them stand a row's inputs, which are the user's own texts.
_LEVELS = 3
_SNAKE = frozenset(("eval_status", "eval_id", "output_type", "input_data", "error_message"))
_CAMEL = frozenset(("evalStatus", "evalId", "outputType", "inputData", "errorMessage"))


class Listener:
    """Remembers each trait of replies as it was first seen, and notes changes. One for each run; not thread-safe."""

    def __init__(self) -> None:
        self._heard: dict[tuple[str, ...], str] = {}
        self._notices: dict[str, str] = {}

    @property
    def notices(self) -> tuple[str, ...]:
        """A sentence for each kind of change, about the first change of that kind."""
        return tuple(self._notices.values())

    def hear(self, reply: Any, *, sent: int = 1) -> None:
        """Compare the traits of a reply that was read. `sent`: items that its request carried."""
        answers = 0
        for part, fields in _objects(reply):
            answers += part == "a submission"
            self._trait(SPELLING, part, now=_spelling(fields))
            if (template := _name(fields.get("name"))) is not None:
                self._trait(OUTPUT_TYPE, part, template, now=_name(pick(fields, "output_type") or None))
        if answers > sent:
            self._notices.setdefault(MORE_THAN_SENT, MORE_THAN_SENT)

    def _trait(self, kind: str, *about: str, now: str | None) -> None:
        before = self._heard.get((kind, *about))
        if now is None:
            return
        if before is None and len(self._heard) < MOST_TRAITS:
            self._heard[(kind, *about)] = now
        elif before not in (None, now):
            self._notices.setdefault(kind, kind.format(about=about[-1], before=before, now=now))


def _objects(reply: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(kind, object) for each object in a reply about evaluations; submissions and states are kinds of their own, since a
    server may spell them differently."""
    level = [reply]
    for _ in range(_LEVELS):
        objects = [fields for value in level for fields in dicts(value)]
        for fields in objects:
            yield "a state", fields
            yield from (("a submission", one) for one in dicts(fields.get("evaluations")))
        level = [fields.get("result") for fields in objects]


def _spelling(fields: Mapping[str, Any]) -> str | None:
    if _CAMEL.isdisjoint(fields):
        return None if _SNAKE.isdisjoint(fields) else "snake_case"
    return "camelCase" if _SNAKE.isdisjoint(fields) else "both spellings at once"


def _name(value: Any) -> str | None:
    return value[:LONGEST_NAME] if isinstance(value, str) else None
