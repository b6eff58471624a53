"""One item against one template."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from fieval_tasks.local.catalogue import Template
from fieval_tasks.local.scoring import (
    agents,
    coverage,
    formats,
    grounding,
    labels,
    ngrams,
    personal_data,
    phrases,
    readability,
    retrieval,
    series,
    similarity,
    text,
    transcripts,
)
from fieval_tasks.local.verdicts import Inputs, NoInput, Params, Verdict

Scorer = Callable[[Inputs, Params], Verdict]

_BLANK: Final = frozenset({"", "{}", "[]", "null"})


def score(template: Template, inputs: Inputs, params: Params) -> Verdict:
    """The verdict on one item. Raises NoInput for a blank value, Unscorable for one the template cannot take."""
    blank = sorted(key for key in template.required_keys if key in inputs and _is_blank(inputs[key]))
    if len(blank) == 1:
        raise NoInput(f"No input received for '{blank[0]}'. Please check your input.")
    if blank:
        listed = ", ".join(f"'{key}'" for key in blank)
        raise NoInput(f"No input received for any of {listed}. Please check your inputs.")
    return SCORERS[template.name](inputs, params)


def _is_blank(value: Any) -> bool:
    return value.strip() in _BLANK if isinstance(value, str) else all(map(_is_blank, value))


SCORERS: Final[Mapping[str, Scorer]] = {
    "is_refusal": phrases.refusal,
    **{
        function.__name__: function
        for function in (
            agents.step_count,
            agents.tool_call_accuracy,
            agents.trajectory_match,
            coverage.completeness,
            formats.is_email,
            formats.is_html,
            formats.is_json,
            formats.is_url,
            formats.is_xml,
            formats.json_diff,
            formats.json_scheme_validation,
            formats.syntax_validation,
            grounding.chunk_attribution,
            grounding.chunk_utilization,
            grounding.context_adherence,
            grounding.context_relevance,
            grounding.detect_hallucination,
            grounding.factual_accuracy,
            grounding.groundedness,
            grounding.is_factually_consistent,
            labels.accuracy,
            labels.balanced_accuracy,
            labels.cohen_kappa,
            labels.f_beta_score,
            labels.fleiss_kappa,
            labels.log_loss,
            labels.matthews_correlation,
            labels.precision_score,
            ngrams.bleu_score,
            ngrams.chrf_score,
            ngrams.distinct_n,
            ngrams.gleu_score,
            ngrams.repetition_rate,
            ngrams.rouge_score,
            ngrams.type_token_ratio,
            personal_data.pii,
            personal_data.regex_pii_detection,
            phrases.contains_code,
            phrases.is_concise,
            phrases.no_apologies,
            phrases.no_llm_reference,
            phrases.prompt_injection,
            phrases.tone,
            phrases.toxicity,
            readability.readability_score,
            retrieval.hit_rate,
            retrieval.mean_average_precision,
            retrieval.mrr,
            retrieval.ndcg_at_k,
            retrieval.precision_at_k,
            retrieval.recall_at_k,
            retrieval.recall_score,
            series.pearson_correlation,
            series.r2_score,
            series.rmse,
            series.spearman_correlation,
            similarity.f1_score,
            similarity.fuzzy_match,
            similarity.ground_truth_match,
            similarity.hamming_similarity,
            similarity.jaccard_similarity,
            similarity.jaro_winkler_similarity,
            similarity.levenshtein_similarity,
            similarity.numeric_similarity,
            similarity.squad_score,
            text.contains,
            text.contains_all,
            text.contains_any,
            text.contains_none,
            text.ends_with,
            text.equals,
            text.length_between,
            text.length_greater_than,
            text.length_less_than,
            text.one_line,
            text.regex,
            text.sentence_count,
            text.starts_with,
            text.word_count_in_range,
            transcripts.character_error_rate,
            transcripts.match_error_rate,
            transcripts.word_error_rate,
            transcripts.word_info_lost,
            transcripts.word_info_preserved,
        )
    },
}
"""Template name -> its scorer; as many as the catalogue lists."""
