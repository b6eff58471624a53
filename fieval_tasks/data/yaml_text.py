"""YAML's documents as JSON's types, with every scalar the text that was typed: `yes` is no truth value, `1.10` no number.

Built of the parser's events: nothing is recursive, no tag makes an object, and no alias grows beyond a bound.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import yaml  # type: ignore[import-untyped]

DEEPEST = 200
"""Levels. What reads the values is recursive, and nothing that people write is deeper."""
_NULLS = ("", "~", "null", "Null", "NULL")
_TEXTS = frozenset(f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "timestamp"))
_COLLECTIONS = frozenset(f"tag:yaml.org,2002:{name}" for name in ("map", "seq"))
_LOADER = getattr(yaml, "CBaseLoader", yaml.BaseLoader)  # by libyaml where it is there: ten times as fast


@dataclass
class _Open:
    """A list or an object whose end is still to come."""

    line: int
    anchor: str | None
    is_object: bool
    begun_at: int
    """Characters of the document before it."""
    values: list[object] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    merges: list[int] = field(default_factory=list)
    """Places of the values that stand under `<<`."""

    @property
    def wants_name(self) -> bool:
        return self.is_object and len(self.names) == len(self.values)

    def closed(self) -> object:
        if not self.is_object:
            return self.values
        merged: dict[str, object] = {}
        own: dict[str, object] = {}
        for place, (name, value) in enumerate(zip(self.names, self.values, strict=True)):
            if place in self.merges:
                merged = {**_mapping(value, self.line), **merged}
            elif name in own:
                raise ValueError(f"line {self.line}: an object has {name!r} more than once")
            else:
                own[name] = value
        return {**merged, **own}


def _mapping(value: object, line: int) -> dict[str, object]:
    """What `<<` takes over: an object, or a list of them, the first of which go first."""
    found: dict[str, object] = {}
    for one in value if isinstance(value, list) else [value]:
        if not isinstance(one, dict):
            raise ValueError(f"line {line}: << takes over objects, and there is another value")
        found = {**one, **found}
    return found


def yaml_documents(text: str, most: int) -> Iterator[object]:
    """Each document of a text. Raises ValueError, with the line, for what is no YAML or has no form in JSON, and for a
    document of more than `most` characters once its aliases are written out."""
    try:
        yield from _documents(text, most)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise ValueError(f"line {mark.line + 1 if mark else 1}: {error.problem or error.context}") from None
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from None


def _documents(text: str, most: int) -> Iterator[object]:
    reading = _Document(most)
    for event in yaml.parse(text, Loader=_LOADER):
        if isinstance(event, yaml.DocumentStartEvent):
            reading = _Document(most)
        elif isinstance(event, yaml.DocumentEndEvent):
            yield reading.value
        elif isinstance(event, yaml.NodeEvent | yaml.CollectionEndEvent):
            reading.take(event)


class _Document:
    def __init__(self, most: int) -> None:
        self.value: object = None
        self._most = most
        self._size = 0
        self._open: list[_Open] = []
        self._anchors: dict[str, tuple[object, int]] = {}
        """What each anchor stands for, and its characters."""

    def take(self, event: yaml.Event) -> None:
        line = event.start_mark.line + 1
        if isinstance(event, yaml.CollectionEndEvent):
            ended = self._open.pop()
            self._put(ended.closed(), ended.anchor, self._size - ended.begun_at)
        elif isinstance(event, yaml.CollectionStartEvent):
            self._require(event, _COLLECTIONS, line)
            if len(self._open) >= DEEPEST:
                raise ValueError(f"line {line}: it is nested more than {DEEPEST} levels deep")
            is_object = isinstance(event, yaml.MappingStartEvent)
            self._open.append(_Open(line, event.anchor, is_object, self._size))
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor not in self._anchors:
                raise ValueError(f"line {line}: *{event.anchor} stands for nothing that is complete before it")
            value, size = self._anchors[event.anchor]
            self._grow(size, line)
            self._put(value, None, 0)
        elif isinstance(event, yaml.ScalarEvent):
            self._require(event, _TEXTS, line)
            self._grow(len(event.value) + 1, line)
            self._scalar(event)

    def _require(self, event: yaml.NodeEvent, tags: frozenset[str], line: int) -> None:
        is_name = bool(self._open) and self._open[-1].wants_name
        if is_name and not isinstance(event, yaml.ScalarEvent):
            raise ValueError(f"line {line}: a name of an object is a list or an object itself")
        if event.tag not in (None, "!", *tags):
            raise ValueError(f"line {line}: {event.tag} is no text, list or object")

    def _grow(self, size: int, line: int) -> None:
        self._size += size
        if self._size > self._most:
            raise ValueError(f"line {line}: with its aliases written out it has more than {self._most:,} characters")

    def _scalar(self, event: yaml.ScalarEvent) -> None:
        is_plain = not event.style
        if self._open and self._open[-1].wants_name:
            if is_plain and event.value == "<<":
                self._open[-1].merges.append(len(self._open[-1].names))
            self._open[-1].names.append(event.value)
        else:
            self._put(None if is_plain and event.value in _NULLS else event.value, event.anchor, len(event.value))

    def _put(self, value: object, anchor: str | None, size: int) -> None:
        if anchor is not None:
            self._anchors[anchor] = (value, size)
        if not self._open:
            self.value = value
        elif self._open[-1].wants_name:
            raise ValueError(f"line {self._open[-1].line}: a name of an object is an alias")
        else:
            self._open[-1].values.append(value)
