"""The two sides of a comparison: a run of the ledger, or a baseline that `flows.bless --file` wrote."""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import IO, Any, Protocol
from unicodedata import normalize

from fieval_tasks.core.errors import PlanError
from fieval_tasks.core.items import Result
from fieval_tasks.core.scales import Scale, folded, scale_of
from fieval_tasks.data.binding import ALIASES
from fieval_tasks.data.intake import canonical
from fieval_tasks.ledger.run import CheckRecord, Run
from fieval_tasks.ledger.store import Ledger
from fieval_tasks.report.figures import segment_of
from fieval_tasks.report.record import iso, utc

ANSWER_KEYS = frozenset(
    (
        *("output", "response", "hypothesis", "generated_value", *ALIASES["output"]),
        *("text", "conversation", "actual_json", "json_content", "caption", "fake_images"),
        *("generated_transcript", "generated_audio"),
    )
)
"""Keys of templates that hold what a model wrote, or contain it: a new prompt changes these. The others (question, context,
reference) are the input side, which stays."""
FORMAT = "fieval baseline 1"
"""What a baseline file says of itself."""
_UNKNOWN = -1


@dataclass(frozen=True)
class Judged:
    """What makes verdicts of one check comparable with another run's."""

    template: str
    model: str | None
    params: str
    """A digest of the parameters that are the same for every row: they may hold what no file should."""
    output: str
    good: tuple[str, ...]
    """The labelling policy: choices that pass."""
    keys: tuple[str, ...]
    """Keys of the input side."""
    by_row: tuple[str, ...] | None = ()
    """PARAMETER=COLUMN of each parameter that the rows give; None: not known, of a file that an earlier version wrote."""

    @property
    def scale(self) -> Scale:
        return scale_of(self.template, self.output, self.good)

    @classmethod
    def of(cls, check: CheckRecord) -> Judged:
        keys = tuple(sorted(key for key in check.sources if key not in ANSWER_KEYS))
        return cls(
            check.template,
            check.model,
            hashlib.sha256(canonical(dict(check.params)).encode()).hexdigest()[: 2 * DIGEST],
            check.output,
            check.good,
            keys,
            tuple(sorted(f"{name}={column}" for name, column in check.param_sources.items())),
        )

    def is_alike(self, other: Judged) -> bool:
        """Whether a pass means the same of both, by the same judge; the rows and their columns may be others."""
        return self._meaning == other._meaning

    @property
    def _meaning(self) -> tuple[object, ...]:
        return self.template, self.model, self.params, self.by_row, self.output, folded(self.good)


@dataclass
class Table:
    """One check's items on one side, in columns: 200 bytes an item."""

    ids: list[str] = field(default_factory=list)
    asked: list[bytes] = field(default_factory=list)
    """Digests of the input side; empty where an item has none."""
    seqs: array[int] = field(default_factory=lambda: array("q"))
    evaluations: array[int] = field(default_factory=lambda: array("q"))
    """The seq of the item whose evaluation gave the verdict."""
    passed: array[int] = field(default_factory=lambda: array("b"))
    """1, 0, or -1 where there is none."""
    scores: array[float] = field(default_factory=lambda: array("d"))
    """NaN where there is none from 0 to 1."""
    further: int = 0
    """Repeated evaluations of these items, which are in no column."""
    columns: dict[str, list[str | None]] = field(default_factory=dict)
    """Column that divides the results -> each item's value as text."""

    def add(
        self, item_id: str, asked: bytes, passed: bool | None, score: float | None, *, seq: int, evaluation: int
    ) -> None:
        self.ids.append(item_id)
        self.seqs.append(seq)
        self.evaluations.append(evaluation)
        self.asked.append(asked)
        self.passed.append(_UNKNOWN if passed is None else int(passed))
        self.scores.append(score if score is not None and 0 <= score <= 1 else float("nan"))


class Side(Protocol):
    """One side of a comparison."""

    name: str
    """Of its run."""
    dataset: str
    at: datetime
    """When its verdicts were complete, or its run began."""
    is_local: bool
    """The embedded evaluator's heuristics judged it."""
    has_ids: bool
    """Its items have ids from a column; else these were made of each row's content."""
    checks: Mapping[str, Judged]

    def tables(self, keys: Mapping[str, Sequence[str]], columns: Collection[str] = ()) -> dict[str, Table]:
        """A table for each check of `keys`: check -> keys of the input side to go by."""

    def results(self, seqs: Iterable[int]) -> Iterator[Result]:
        """The results of these items, with inputs; none of a file."""


class RunSide:
    """A run of the ledger."""

    def __init__(self, ledger: Ledger, run: Run) -> None:
        self._book = ledger.book(run.run_id)
        self.name = run.run_id
        self.dataset = run.dataset
        self.at = run.finished_at or run.created_at
        self.is_local = run.connection == "local"
        self.has_ids = run.plan.get("id_column") is not None
        self.checks: Mapping[str, Judged] = {check.name: Judged.of(check) for check in run.checks}

    def tables(self, keys: Mapping[str, Sequence[str]], columns: Collection[str] = ()) -> dict[str, Table]:
        found = {name: Table(columns={column: [] for column in columns}) for name in keys}
        for result in self._book.results(with_inputs=True):
            if result.check not in found:
                continue
            if result.repeat:  # it says how noisy the judge is, and pairs with none
                found[result.check].further += 1
            else:
                _add(found[result.check], result, keys[result.check])
        return found

    def results(self, seqs: Iterable[int]) -> Iterator[Result]:
        return self._book.results(with_inputs=True, of=seqs)


def _add(table: Table, result: Result, keys: Sequence[str]) -> None:
    is_scored = result.status == "scored"
    passed, score = (result.passed, result.score) if is_scored else (None, None)
    seq = _UNKNOWN if result.seq is None else result.seq
    evaluation = seq if result.same_as is None else result.same_as
    asked = asked_of(result.inputs or {}, keys)
    table.add(result.item_id, asked, passed, score, seq=seq, evaluation=evaluation)
    for column, values in table.columns.items():
        there = {
            normalize("NFC", name).strip(): cell
            for name, cell in {**(result.kept or {}), **(result.traits or {})}.items()
        }
        values.append(segment_of(there, column) if column in there else None)


def asked_of(inputs: Mapping[str, str], keys: Sequence[str]) -> bytes:
    """A digest of the input side; empty where it is."""
    found = hashlib.sha256()
    asked = [(key, inputs[key].encode(errors="surrogatepass")) for key in keys if key in inputs]
    for key, text in asked:
        found.update(b"%s %d %s" % (key.encode(), len(text), text))
    return found.digest()[:DIGEST] if asked else b""


DIGEST = 8
"""Bytes of a digest: of 100,000 items two different ones are alike with a chance of 3e-10."""


# -- files ---------------------------------------------------------------------------------------------------------


def write_baseline(file: IO[str], side: Side) -> int:
    """Write the side as JSON, an item a line and always the same for the same run; how many items those were.

    It holds ids, digests of questions, passes and scores: no text of the dataset, no place of the machine and no keys.
    """
    about = {
        "format": FORMAT, "run": side.name, "dataset": side.dataset, "at": iso(side.at), "is_local": side.is_local,
        "has_ids": side.has_ids,
    }  # fmt: skip
    head = json.dumps(about, indent=1, ensure_ascii=True)
    file.write(head.removesuffix("\n}") + ',\n "checks": {')
    tables, written = side.tables({name: check.keys for name, check in side.checks.items()}), 0
    for place, (name, check) in enumerate(side.checks.items()):
        said = {**vars(check), "good": list(check.good), "keys": list(check.keys)}
        file.write(f'{"," if place else ""}\n  {json.dumps(name)}: {json.dumps(said)[:-1]}, "items": [')
        table = tables[name]
        for i, item_id in enumerate(table.ids):
            passed = None if table.passed[i] == _UNKNOWN else bool(table.passed[i])
            score = None if table.scores[i] != table.scores[i] else table.scores[i]
            line = json.dumps([item_id, table.asked[i].hex(), passed, score, table.evaluations[i]])
            file.write(f"{',' if i else ''}\n   {line}")
            written += 1
        file.write("]}")
    file.write("\n }\n}\n")
    return written


class FileSide:
    """A baseline that was written to a file."""

    def __init__(self, path: Path) -> None:
        """Raises PlanError where the file can't be read as a baseline."""
        try:
            self._content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            if self._content["format"] != FORMAT:
                raise ValueError(f"its format is {self._content['format']!r}, and this program reads {FORMAT!r}")
            self.name = str(self._content["run"])
            self.dataset = str(self._content["dataset"])
            self.at = utc(datetime.fromisoformat(self._content["at"]))
            self.is_local = bool(self._content["is_local"])
            self.has_ids = bool(self._content["has_ids"])
            self.checks: Mapping[str, Judged] = {
                name: Judged(
                    check["template"], check["model"], check["params"], check["output"], tuple(check["good"]),
                    tuple(check["keys"]), tuple(check["by_row"]) if "by_row" in check else None,
                )
                for name, check in self._content["checks"].items()
            }  # fmt: skip
        except OSError as error:
            raise PlanError(f"the baseline {path} can't be read: {error.strerror}") from error
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise PlanError(
                f"{path} is no baseline ({error}): python -m flows.bless RUN --file {path.name} writes one"
            ) from error

    def tables(self, keys: Mapping[str, Sequence[str]], columns: Collection[str] = ()) -> dict[str, Table]:
        return {name: self._table(name, wanted) for name, wanted in keys.items()}

    def _table(self, name: str, keys: Sequence[str]) -> Table:
        table, check = Table(), self._content["checks"][name]
        fits = list(keys) == check["keys"]  # else the digests are of another input side
        try:
            for place, (item_id, asked, passed, score, evaluation) in enumerate(check["items"]):
                if not (passed is None or isinstance(passed, bool)):
                    raise ValueError(f"passed is {passed!r}")
                digest = bytes.fromhex(asked) if fits else b""
                table.add(str(item_id), digest, passed, score, seq=place, evaluation=evaluation)
        except (ValueError, TypeError, OverflowError, KeyError) as error:
            raise PlanError(
                f"the baseline file of run {self.name} holds an item that can't be read ({error})"
            ) from error
        return table

    def results(self, seqs: Iterable[int]) -> Iterator[Result]:
        yield from ()


def problems(run: Side, baseline: Side, *, across_models: bool = False) -> Iterator[str]:
    """Why the two can't be compared: a sentence for each reason."""
    common = [name for name in run.checks if name in baseline.checks]
    this = f"run {run.name}" if run.name else "this run"  # one that is about to begin has no name yet
    if not common:
        yield (
            f"{this} and the baseline {baseline.name} have no check of the same name in common "
            f"({', '.join(run.checks)}; {', '.join(baseline.checks)})"
        )
    if run.is_local != baseline.is_local and not across_models:
        here, there = (
            "the local evaluator's heuristics" if one.is_local else "the platform's judges" for one in (run, baseline)
        )
        yield f"{this} was judged by {here}, and the baseline {baseline.name} by {there}{_ON_PURPOSE}"
    for name in common:
        now, before = run.checks[name], baseline.checks[name]
        here, there = f"in {this}", f"in the baseline {baseline.name}"
        if (now.template, now.output) != (before.template, before.output):
            yield f"{name} is {now.template} ({now.output}) {here}, and {before.template} ({before.output}) {there}: their figures mean different things"
        elif now.params != before.params or (before.by_row is not None and now.by_row != before.by_row):
            yield f"{name} has other parameters {here} than {there}: its figures mean different things"
        elif folded(now.good) != folded(before.good):
            good, other = (", ".join(one.good) or "none" for one in (now, before))
            yield f"{name} has other good choices {here} ({good}) than {there} ({other}): say the same by --good"
        elif now.model != before.model and not across_models:
            yield f"{name} was judged by {now.model} {here}, and by {before.model} {there}{_ON_PURPOSE}"


_ON_PURPOSE = (
    ": a difference could be the judges'; to compare judges on purpose, python -m flows.compare with --across-models"
)
