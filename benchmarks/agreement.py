"""How far the embedded evaluator's heuristics agree with people, beside a plain overlap of words."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.measures import Measure, Table
from fieval_tasks.local.catalogue import CATALOGUE
from fieval_tasks.local.scoring import SCORERS
from fieval_tasks.local.scoring.readings import words
from fieval_tasks.local.verdicts import PASSED

SAMPLE = Path(__file__).parents[1] / "fieval_tasks" / "data" / "sample.jsonl"
GROUNDED = ("context_adherence", "groundedness")
"""The templates that must be as good as an overlap of words."""
ASKED = (
    *("context_adherence", "factual_accuracy", "groundedness", "detect_hallucination", "is_factually_consistent"),
    *("chunk_attribution", "chunk_utilization", "context_relevance", "completeness", "no_llm_reference"),
)
"""The judge templates that have a word to say on such questions: the others look for code, insults, personal data."""


@dataclass(frozen=True)
class Judged:
    """A text with what it belongs to (`input`, `output`, `context`, as far as known), and what people say of it."""

    inputs: Mapping[str, str]
    is_right: bool


def agreement(data: Path | None) -> Iterator[Table]:
    """The area under the ROC curve (AUC) of each judge: how often a right text is given more than a wrong one."""
    for name, judged in _sets(data or SAMPLE).items():
        right = sum(one.is_right for one in judged)
        yield Table(
            f"agreement with people: {name}, {len(judged):,} texts, {right:,} of them right",
            [*_measures(judged)],
            ["AUC: 0.5 is chance, 1 is full agreement"],
        )


def _measures(judged: Sequence[Judged]) -> Iterator[Measure]:
    overlap = auc(judged, rouge_2_precision) if "context" in judged[0].inputs else None
    if overlap is not None:
        yield Measure("ROUGE-2 precision, for comparison", overlap)
    for name in ASKED:
        needed = set(CATALOGUE[name].required_keys) - set(CATALOGUE[name].optional_keys)
        if needed <= judged[0].inputs.keys():
            target = overlap - 0.02 if overlap is not None and name in GROUNDED else None
            yield Measure(name, auc(judged, _judge(name)), at_least=target)


def _judge(name: str) -> Callable[[Judged], float]:
    def score(one: Judged) -> float:
        value = SCORERS[name](one.inputs, {}).value
        return float(value == PASSED if isinstance(value, str) else value)

    return score


def _sets(data: Path) -> Mapping[str, Sequence[Judged]]:
    """The texts of a file by what people were asked of them. It is read as what its first line is."""
    rows = [json.loads(line) for line in data.read_text(encoding="utf-8").splitlines()]
    if "summary_sentences" in rows[0]:  # QAGS: is each sentence consistent with the article?
        return {data.name: [*map(_qags, rows)]}
    if "chatgpt_response" in rows[0]:  # HaluEval's general set: does the answer hold anything made up?
        pairs = [
            ({"input": row["user_query"], "output": row["chatgpt_response"]}, row["hallucination"]) for row in rows
        ]
        return {data.name: [Judged(inputs, verdict == "no") for inputs, verdict in pairs]}
    texts = [{"input": row["question"], "output": row["answer"], "context": row["docs"]} for row in rows]
    labelled = [*zip(texts, (row["label"] for row in rows), strict=True)]
    return {
        "bundled sample, supported": [Judged(inputs, label != "unsupported") for inputs, label in labelled],
        "bundled sample, good": [Judged(inputs, label == "good") for inputs, label in labelled],
    }


def _qags(row: Mapping[str, Any]) -> Judged:
    sentences = row["summary_sentences"]
    inputs = {"context": row["article"], "output": " ".join(one["sentence"] for one in sentences)}
    return Judged(inputs, all(map(_most_say_yes, sentences)))


def _most_say_yes(sentence: Mapping[str, Any]) -> bool:
    answers = [response["response"] for response in sentence["responses"]]
    return 2 * answers.count("yes") > len(answers)


def auc(judged: Sequence[Judged], score: Callable[[Judged], float]) -> float:
    """Mann and Whitney's U over the number of pairs; of two that are alike, half counts."""
    right, wrong = ([score(one) for one in judged if one.is_right is kind] for kind in (True, False))
    return sum((a > b) + (a == b) / 2 for a in right for b in wrong) / (len(right) * len(wrong))


def rouge_2_precision(one: Judged) -> float:
    """Share of the output's word pairs that stand in the context (Lin 2004)."""
    there, said = (Counter(pairwise(words(one.inputs[key]))) for key in ("context", "output"))
    return (there & said).total() / max(1, said.total())
