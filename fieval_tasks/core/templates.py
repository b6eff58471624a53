"""The evaluation templates: the inputs and parameters that each takes, and the type of its answers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any

from fieval_tasks.core.spelling import nearest


@dataclass(frozen=True)
class Template:
    """One template of the platform's catalogue."""

    name: str
    """As `--template` takes it."""
    required: tuple[str, ...]
    """Keys that the inputs must have, without the optional ones."""
    optional: tuple[str, ...]
    """Keys that the inputs may have."""
    output: str
    """"Pass/Fail", "score", "numeric", "choices" or "reason"."""
    needs_model: bool
    """A judge model gives the verdict; False for templates that are plain code."""
    models: tuple[str, ...] = ()
    """The judge models that the template takes; empty: any."""
    parameters: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Parameter -> its entry in the platform's catalogue (type, default, bounds …): see `data/parameters`."""
    description: str = ""
    choices: tuple[str, ...] = ()
    """Of a template that answers with choices: those it has; empty: not told."""

    @property
    def keys(self) -> tuple[str, ...]:
        return self.required + self.optional


class NoSuchTemplate(KeyError):
    """Raised for a template name that is not in the catalogue; the message names the nearest ones."""

    def __str__(self) -> str:  # KeyError's own is in quotes
        return str(self.args[0])


@dataclass(frozen=True, repr=False)
class Catalogue(Mapping[str, Template]):
    """Every template that a connection offers, by name."""

    templates: Mapping[str, Template]
    source: str
    """Where the catalogue comes from, for messages."""

    def __getitem__(self, name: str) -> Template:
        if name not in self.templates:
            near = " or ".join(nearest(str(name), self.templates))
            hint = f"did you mean {near}?" if near else "check its name"
            raise NoSuchTemplate(f"no template {name!r} in {self.source}: {hint}")
        return self.templates[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.templates)

    def __len__(self) -> int:
        return len(self.templates)

    def __contains__(self, name: object) -> bool:
        return name in self.templates

    def __repr__(self) -> str:
        return f"<{len(self)} templates of {self.source}>"


@cache
def bundled_catalogue() -> Catalogue:
    """The copy that ships with this package: the platform's 156 system templates as of August 2026."""
    text = resources.files("fieval_tasks").joinpath("data/templates.json").read_text(encoding="utf-8")
    entries = json.loads(text)
    return Catalogue(
        templates={e["name"]: _from_bundle(e) for e in entries},
        source="the copy bundled with this package",
    )


def _from_bundle(entry: Mapping[str, Any]) -> Template:
    optional = tuple(entry.get("optional") or ())
    return Template(
        name=entry["name"],
        required=tuple(k for k in entry["required"] if k not in optional),
        optional=optional,
        output=entry["output"],
        needs_model=entry["needs_model"],
        models=tuple(entry.get("models") or ()),
        parameters=entry.get("parameters") or {},
        choices=tuple(entry.get("choices") or ()),
    )
