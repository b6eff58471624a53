"""YAML documents in JSON's types, with every scalar as the text that was typed: `yes` stays "yes", `1.10` stays "1.10".

Built from the parser's events, for hostile files: no recursion, no tag creates Python objects, and aliases are bounded.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import yaml  # type: ignore[import-untyped]

# The code that reads the values is recursive; no file that people write is deeper.
DEEPEST = 200
"""Levels of nesting."""
_NULLS = ("", "~", "null", "Null", "NULL")
_TAG = "tag:yaml.org,2002:"
_TEXTS = frozenset(_TAG + name for name in ("str", "int", "float", "bool", "null", "timestamp"))
_COLLECTIONS = frozenset(_TAG + name for name in ("map", "seq"))
_LOADER = getattr(yaml, "CBaseLoader", yaml.BaseLoader)  # by libyaml where it is there: ten times as fast
# The marker for YAML's merge key `<<`.
_MERGE = object()


def yaml_documents(text: str, most: int) -> Iterator[object]:
    """Each document of a text. Raises ValueError, with the line, where the text is no YAML or has no JSON form, and where a
    document has more than `most` characters once its aliases are expanded."""
    document = _Document(most)
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            if isinstance(event, yaml.DocumentStartEvent):
                document = _Document(most)
            elif isinstance(event, yaml.DocumentEndEvent):
                yield document.value
            elif isinstance(event, yaml.NodeEvent | yaml.CollectionEndEvent):
                document.take(event, event.start_mark.line + 1)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise ValueError(f"line {mark.line + 1 if mark else 1}: {error.problem or error.context}") from None
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from None


@dataclass
class _Open:
    """A list or an object whose end event has not come yet."""

    line: int
    anchor: str | None
    is_object: bool
    begun_at: int
    """Characters of the document before this list or object."""
    parts: list[object] = field(default_factory=list)
    """The values so far; for an object names and values in turn."""

    @property
    def wants_name(self) -> bool:
        return self.is_object and len(self.parts) % 2 == 0

    def closed(self) -> object:
        if not self.is_object:
            return self.parts
        merged: dict[object, object] = {}
        own: dict[object, object] = {}
        for name, value in zip(self.parts[::2], self.parts[1::2], strict=True):
            if name is _MERGE:
                merged = {**self._taken_over(value), **merged}
            elif name in own:
                raise ValueError(f"line {self.line}: an object has {name!r} more than once")
            else:
                own[name] = value
        return {**merged, **own}

    def _taken_over(self, value: object) -> dict[object, object]:
        """The merged fields of an object under `<<`, or of a list of objects, where earlier ones win."""
        found: dict[object, object] = {}
        for one in value if isinstance(value, list) else [value]:
            if not isinstance(one, dict):
                raise ValueError(f"line {self.line}: << takes over objects, and there is another value")
            found = {**one, **found}
        return found


class _Document:
    def __init__(self, most: int) -> None:
        self.value: object = None
        self._most = most
        self._size = 0
        self._open: list[_Open] = []
        self._anchors: dict[str, tuple[object, int]] = {}
        """Anchor -> its value and that value's characters."""

    def take(self, event: yaml.Event, line: int) -> None:
        if isinstance(event, yaml.CollectionEndEvent):
            ended = self._open.pop()
            self._put(ended.closed(), ended.anchor, self._size - ended.begun_at)
        elif isinstance(event, yaml.ScalarEvent):
            _require(event.tag, _TEXTS, line)
            self._grow(len(event.value) + 1, line)
            self._scalar(event)
        elif self._open and self._open[-1].wants_name:
            raise ValueError(f"line {line}: a name of an object is a list, an object or an alias")
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor not in self._anchors:
                raise ValueError(f"line {line}: *{event.anchor} stands for nothing that is complete before it")
            value, size = self._anchors[event.anchor]
            self._grow(size, line)
            self._put(value)
        else:
            _require(event.tag, _COLLECTIONS, line)
            if len(self._open) >= DEEPEST:
                raise ValueError(f"line {line}: it is nested more than {DEEPEST} levels deep")
            self._open.append(_Open(line, event.anchor, isinstance(event, yaml.MappingStartEvent), self._size))

    def _scalar(self, event: yaml.ScalarEvent) -> None:
        is_plain = not event.style
        if self._open and self._open[-1].wants_name:
            self._put(_MERGE if is_plain and event.value == "<<" else event.value)
        else:
            value = None if is_plain and event.value in _NULLS else event.value
            self._put(value, event.anchor, len(event.value))

    def _put(self, value: object, anchor: str | None = None, size: int = 0) -> None:
        if anchor is not None:
            self._anchors[anchor] = (value, size)
        if self._open:
            self._open[-1].parts.append(value)
        else:
            self.value = value

    def _grow(self, size: int, line: int) -> None:
        self._size += size
        if self._size > self._most:
            raise ValueError(f"line {line}: with its aliases written out it has more than {self._most:,} characters")


def _require(tag: str | None, tags: frozenset[str], line: int) -> None:
    if tag not in (None, "!", *tags):
        raise ValueError(f"line {line}: {tag} is no text, list or object")
