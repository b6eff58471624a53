"""Scores of a ranked list of retrieved items (`hypothesis`) against the relevant ones (`reference`)."""

from __future__ import annotations

from math import log2

from fieval_tasks.local.scoring.readings import text, texts
from fieval_tasks.local.verdicts import Inputs, Params, Verdict


def precision_at_k(inputs: Inputs, params: Params) -> Verdict:
    top, hits, _ = _ranked(inputs, params)
    score = len(hits) / len(top) if top else 0.0
    return Verdict(score, f"Precision@{len(top)}: {score:.3f} ({len(hits)}/{len(top)} items in the top are relevant)")


def recall_at_k(inputs: Inputs, params: Params) -> Verdict:
    top, hits, relevant = _ranked(inputs, params)
    score = len(hits) / len(relevant) if relevant else 0.0
    shown = f"{len(hits)}/{len(relevant)} relevant items in top {len(top)}"
    return Verdict(score, f"Recall@{len(top)}: {score:.3f} ({shown})")


def ndcg_at_k(inputs: Inputs, params: Params) -> Verdict:
    top, hits, relevant = _ranked(inputs, params)
    gain = sum(1 / log2(rank + 1) for rank in hits)
    ideal = sum(1 / log2(rank + 1) for rank in range(1, min(len(relevant), len(top)) + 1))
    score = min(1.0, gain / ideal) if ideal else 0.0
    return Verdict(score, f"NDCG@{len(top)}: {score:.3f} (DCG={gain:.3f}, IDCG={ideal:.3f})")


def hit_rate(inputs: Inputs, params: Params) -> Verdict:
    _, hits, _ = _ranked(inputs, {})
    found = f"relevant item at rank {hits[0]}" if hits else "no relevant item retrieved"
    return Verdict(float(bool(hits)), f"Hit rate: {found}")


def mrr(inputs: Inputs, params: Params) -> Verdict:
    _, hits, _ = _ranked(inputs, {})
    score = 1 / hits[0] if hits else 0.0
    return Verdict(score, f"MRR: {score:.3f}")


def mean_average_precision(inputs: Inputs, params: Params) -> Verdict:
    top, hits, relevant = _ranked(inputs, {})
    total = sum(count / rank for count, rank in enumerate(hits, start=1))
    score = min(1.0, total / len(relevant)) if relevant else 0.0
    return Verdict(score, f"MAP: {score:.4f} ({len(hits)} relevant in {len(top)} retrieved)")


def recall_score(inputs: Inputs, params: Params) -> Verdict:
    """The share of the reference's words that the hypothesis has."""
    wanted = set(text(inputs, "reference").lower().split())
    found = wanted & set(text(inputs, "hypothesis").lower().split())
    score = len(found) / len(wanted) if wanted else 0.0
    return Verdict(score, f"Recall: {score:.4f} ({len(found)}/{len(wanted)} reference words found)")


def _ranked(inputs: Inputs, params: Params) -> tuple[list[str], list[int], set[str]]:
    """The top items, the ranks (from 1) at which a relevant one first appears, and the relevant ones."""
    relevant = set(texts(inputs, "reference"))
    retrieved = texts(inputs, "hypothesis")
    top = retrieved[: params.get("k") or len(retrieved)]
    # A relevant item counts once, however often it was retrieved: else scores would pass 1.
    first = {item: rank for rank, item in reversed(list(enumerate(top, start=1)))}
    return top, sorted(first[item] for item in relevant if item in first), relevant
