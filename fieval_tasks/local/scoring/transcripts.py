"""Error rates of a transcript; every score is one minus the rate, never below 0."""

from __future__ import annotations

from collections.abc import Sequence

from fieval_tasks.local.scoring.readings import text
from fieval_tasks.local.scoring.similarity import LARGEST_COMPARISON
from fieval_tasks.local.verdicts import Inputs, Params, Unscorable, Verdict


def word_error_rate(inputs: Inputs, params: Params) -> Verdict:
    reference, hypothesis = _words(inputs)
    return _rate("WER", _edits(reference, hypothesis), len(reference), "words")


def character_error_rate(inputs: Inputs, params: Params) -> Verdict:
    reference, hypothesis = (text(inputs, key).strip().lower() for key in ("reference", "hypothesis"))
    return _rate("CER", _edits(reference, hypothesis), len(reference), "chars")


def match_error_rate(inputs: Inputs, params: Params) -> Verdict:
    reference, hypothesis = _words(inputs)
    edits, hits = _edits(reference, hypothesis), _hits(reference, hypothesis)
    rate = edits / (hits + edits) if hits + edits else 0.0
    return Verdict(1 - rate, f"MER: {rate:.1%} ({edits} edits, {hits} hits)")


def word_info_lost(inputs: Inputs, params: Params) -> Verdict:
    kept = _information(inputs)
    return Verdict(kept, f"WIL: {1 - kept:.4f}")


def word_info_preserved(inputs: Inputs, params: Params) -> Verdict:
    kept = _information(inputs)
    return Verdict(kept, f"WIP: {kept:.4f}")


def _information(inputs: Inputs) -> float:
    reference, hypothesis = _words(inputs)
    hits = _hits(reference, hypothesis)
    return hits / len(reference) * hits / len(hypothesis) if hits else 0.0


def _rate(name: str, edits: int, length: int, units: str) -> Verdict:
    rate = edits / length
    return Verdict(max(0.0, 1 - rate), f"{name}: {rate:.1%} ({edits} edits / {length} {units})")


def _words(inputs: Inputs) -> tuple[list[str], list[str]]:
    return text(inputs, "reference").lower().split(), text(inputs, "hypothesis").lower().split()


def _edits(reference: Sequence[str], hypothesis: Sequence[str]) -> int:
    from rapidfuzz.distance import Levenshtein

    _check_size(reference, hypothesis)
    return Levenshtein.distance(reference, hypothesis)


def _hits(reference: Sequence[str], hypothesis: Sequence[str]) -> int:
    """Words left as they are by a shortest edit."""
    from rapidfuzz.distance import Levenshtein

    _check_size(reference, hypothesis)
    return sum(
        block.src_end - block.src_start for block in Levenshtein.opcodes(reference, hypothesis) if block.tag == "equal"
    )


def _check_size(reference: Sequence[str], hypothesis: Sequence[str]) -> None:
    if len(reference) * len(hypothesis) > LARGEST_COMPARISON:
        raise Unscorable(f"transcripts of lengths {len(reference)} and {len(hypothesis)} are too long to compare")
