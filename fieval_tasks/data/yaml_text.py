"""YAML documents in JSON's types, with every scalar as the text that was typed: `yes` stays "yes", `1.10` stays "1.10".

Built from the parser's events, for hostile files: nesting and aliases are bounded, and no tag creates Python objects.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import takewhile

import yaml  # type: ignore[import-untyped]

# Reading is recursive; no file that people write is deeper.
DEEPEST = 200
"""Levels of nesting."""
_NULLS = ("", "~", "null", "Null", "NULL")
_TAG = "tag:yaml.org,2002:"
_TEXTS = frozenset(_TAG + name for name in ("str", "int", "float", "bool", "null", "timestamp"))
_COLLECTIONS = frozenset(_TAG + name for name in ("map", "seq"))
_LOADER = getattr(yaml, "CBaseLoader", yaml.BaseLoader)  # by libyaml where it is there: ten times as fast


def yaml_documents(text: str, most: int) -> Iterator[object]:
    """Each document of a text. Raises ValueError, with the line, where the text is no YAML or has no JSON form, and where a
    document has more than `most` characters once its aliases are expanded."""
    try:
        events = yaml.parse(text, Loader=_LOADER)
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                yield _Document(events, most).value(next(events))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise ValueError(f"line {mark.line + 1 if mark else 1}: {error.problem or error.context}") from None
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from None


class _Document:
    """Reads one document from the parser's events."""

    def __init__(self, events: Iterator[yaml.Event], most: int) -> None:
        self._events = events
        self._most = most
        self._size = 0
        self._anchors: dict[str, tuple[object, int]] = {}
        """Anchor -> its value and that value's characters."""

    def value(self, event: yaml.Event, depth: int = 0) -> object:
        """The value that begins with this event."""
        line, before = event.start_mark.line + 1, self._size
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in self._anchors:
                raise ValueError(f"line {line}: *{event.anchor} stands for nothing that is complete before it")
            value, size = self._anchors[event.anchor]
            self._grow(size, line)
            return value
        if isinstance(event, yaml.ScalarEvent):
            text = self._text(event, line)
            value = None if not event.style and text in _NULLS else text
        elif depth >= DEEPEST:
            raise ValueError(f"line {line}: it is nested more than {DEEPEST} levels deep")
        else:
            _require(event.tag, _COLLECTIONS, line)
            is_object = isinstance(event, yaml.MappingStartEvent)
            value = (
                self._object(line, depth + 1) if is_object else [self.value(part, depth + 1) for part in self._parts()]
            )
        if event.anchor is not None:
            self._anchors[event.anchor] = (value, self._size - before)
        return value

    def _parts(self) -> Iterator[yaml.Event]:
        """The events with which the parts of the present list or object begin, up to its end."""
        return takewhile(lambda event: not isinstance(event, yaml.CollectionEndEvent), self._events)

    def _object(self, line: int, depth: int) -> dict[object, object]:
        merged: dict[object, object] = {}
        own: dict[object, object] = {}
        for name in self._parts():
            if not isinstance(name, yaml.ScalarEvent):
                place = name.start_mark.line + 1
                raise ValueError(f"line {place}: a name of an object is a list, an object or an alias")
            key, value = self._text(name, name.start_mark.line + 1), self.value(next(self._events), depth)
            if key == "<<" and not name.style:  # YAML's merge key
                merged = {**_taken_over(value, line), **merged}
            elif key in own:
                raise ValueError(f"line {line}: an object has {key!r} more than once")
            else:
                own[key] = value
        return {**merged, **own}

    def _text(self, event: yaml.ScalarEvent, line: int) -> str:
        _require(event.tag, _TEXTS, line)
        self._grow(len(event.value) + 1, line)
        return str(event.value)

    def _grow(self, size: int, line: int) -> None:
        self._size += size
        if self._size > self._most:
            raise ValueError(f"line {line}: with its aliases written out it has more than {self._most:,} characters")


def _taken_over(value: object, line: int) -> dict[object, object]:
    """The merged fields of an object under `<<`, or of a list of objects, where earlier ones win."""
    found: dict[object, object] = {}
    for one in value if isinstance(value, list) else [value]:
        if not isinstance(one, dict):
            raise ValueError(f"line {line}: << takes over objects, and there is another value")
        found = {**one, **found}
    return found


def _require(tag: str | None, tags: frozenset[str], line: int) -> None:
    if tag not in (None, "!", *tags):
        raise ValueError(f"line {line}: {tag} is no text, list or object")
