"""How far the embedded evaluator's judges of groundedness agree with people, beside a plain overlap of words."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from benchmarks.measures import Measure, Table
from fieval_tasks.local.scoring import SCORERS
from fieval_tasks.local.scoring.readings import words
from fieval_tasks.local.verdicts import PASSED


@dataclass(frozen=True)
class Judged:
    """A text, what it should rest on, and whether most people found that it does."""

    context: str
    output: str
    is_right: bool


def agreement(data: Path) -> Iterator[Table]:
    """The area under the ROC curve (AUC) of each: how often a right text is given more than a wrong one."""
    judged = [*read(data)]
    right = sum(one.is_right for one in judged)
    overlap = auc(judged, rouge_2_precision)
    yield Table(
        f"agreement with people: {data.name}, {len(judged):,} texts, {right:,} of them right",
        [
            Measure("AUC of ROUGE-2 precision", overlap),
            Measure("AUC of context_adherence", auc(judged, _adherence), at_least=overlap - 0.02),
            Measure("AUC of groundedness (passed or failed)", auc(judged, _groundedness)),
        ],
        ["0.5 is chance, 1 is full agreement"],
    )


def read(data: Path) -> Iterator[Judged]:
    """Lines of JSON as QAGS has them: `article`, and `summary_sentences` with each person's `response`, yes or no."""
    with data.open(encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            told = row["summary_sentences"]
            yield Judged(row["article"], " ".join(one["sentence"] for one in told), all(map(_most_say_yes, told)))


def _most_say_yes(sentence: dict[str, list[dict[str, str]]]) -> bool:
    answers = [response["response"] for response in sentence["responses"]]
    return 2 * answers.count("yes") > len(answers)


def auc(judged: Sequence[Judged], score: Callable[[Judged], float]) -> float:
    """Mann and Whitney's U over the number of pairs; of two that are alike, half counts."""
    right, wrong = ([score(one) for one in judged if one.is_right is kind] for kind in (True, False))
    return sum((a > b) + (a == b) / 2 for a in right for b in wrong) / (len(right) * len(wrong))


def rouge_2_precision(one: Judged) -> float:
    """Share of the output's word pairs that stand in the context (Lin 2004)."""
    there, said = (Counter(pairwise(words(text))) for text in (one.context, one.output))
    return (there & said).total() / max(1, said.total())


def _adherence(one: Judged) -> float:
    return float(SCORERS["context_adherence"]({"output": one.output, "context": one.context}, {}).value)


def _groundedness(one: Judged) -> float:
    return float(SCORERS["groundedness"]({"output": one.output, "context": one.context}, {}).value == PASSED)
