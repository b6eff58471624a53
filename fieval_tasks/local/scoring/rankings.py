"""Scores of a ranked list of retrieved items (`hypothesis`) against the relevant ones (`reference`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import log2
from typing import Final

from fieval_tasks.local.scoring.readings import texts
from fieval_tasks.local.verdicts import Inputs, Params, Verdict


@dataclass(frozen=True)
class _Ranking:
    top: int
    """How many of the retrieved items are looked at."""
    hits: list[int]
    """The ranks, from 1, at which a relevant item first appears: one counts once, else scores would pass 1."""
    relevant: int

    @property
    def gain(self) -> float:
        return sum(1 / log2(rank + 1) for rank in self.hits)

    @property
    def ideal(self) -> float:
        return sum(1 / log2(rank + 1) for rank in range(1, min(self.relevant, self.top) + 1))


def _ranked(
    score: Callable[[_Ranking], float], reason: str, *, of_top: bool = False
) -> Callable[[Inputs, Params], Verdict]:
    """`reason` may name score, top, hits, relevant, gain and ideal."""

    def check(inputs: Inputs, params: Params) -> Verdict:
        relevant, retrieved = set(texts(inputs, "reference")), texts(inputs, "hypothesis")
        top = retrieved[: (params.get("k") if of_top else None) or len(retrieved)]
        first = {item: rank for rank, item in reversed([*enumerate(top, start=1)])}
        ranking = _Ranking(len(top), sorted(first[item] for item in relevant & first.keys()), len(relevant))
        value = min(1.0, float(score(ranking)))
        facts = {"score": value, "top": ranking.top, "hits": len(ranking.hits), "relevant": ranking.relevant}
        return Verdict(value, reason.format(**facts, gain=ranking.gain, ideal=ranking.ideal))

    return check


SCORERS: Final[Mapping[str, Callable[[Inputs, Params], Verdict]]] = {
    "precision_at_k": _ranked(
        lambda ranking: len(ranking.hits) / max(ranking.top, 1),
        "Precision@{top}: {score:.3f} ({hits}/{top} items in the top are relevant)",
        of_top=True,
    ),
    "recall_at_k": _ranked(
        lambda ranking: len(ranking.hits) / max(ranking.relevant, 1),
        "Recall@{top}: {score:.3f} ({hits}/{relevant} relevant items in top {top})",
        of_top=True,
    ),
    "ndcg_at_k": _ranked(
        lambda ranking: ranking.gain / ranking.ideal if ranking.ideal else 0.0,
        "NDCG@{top}: {score:.3f} (DCG={gain:.3f}, IDCG={ideal:.3f})",
        of_top=True,
    ),
    "hit_rate": _ranked(lambda ranking: float(bool(ranking.hits)), "Hit rate: {hits} relevant of {top} retrieved"),
    "mrr": _ranked(lambda ranking: 1 / ranking.hits[0] if ranking.hits else 0.0, "MRR: {score:.3f}"),
    "mean_average_precision": _ranked(
        lambda ranking: sum(count / rank for count, rank in enumerate(ranking.hits, 1)) / max(ranking.relevant, 1),
        "MAP: {score:.4f} ({hits} relevant in {top} retrieved)",
    ),
}
