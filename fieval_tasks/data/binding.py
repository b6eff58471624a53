"""Which column of the dataset fills which key of each check's template."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from shlex import quote
from typing import Any, Literal
from unicodedata import normalize

from fieval_tasks.core.errors import PlanError
from fieval_tasks.core.gates import gate_problems
from fieval_tasks.core.plan import DEFAULT_JUDGE, Check, EvaluationPlan, settings_for
from fieval_tasks.core.scales import Offer, Scale, choice_problems, good_of, scale_of
from fieval_tasks.core.spelling import MOST_LISTED, did_you_mean, listed, nearest
from fieval_tasks.core.templates import Catalogue, Template
from fieval_tasks.data import parameters
from fieval_tasks.data.places import Place, not_there, place_of

# Usual column names for what a model wrote. `answer` stands last: beside a `response` or `prediction` it is mostly the
# right answer.
_ANSWERS = (
    *("output", "response", "completion", "prediction", "generated", "generation", "hypothesis", "candidate"),
    *("model_output", "llm_output", "actual_output", "generated_output", "output_text", "attributes.output.value"),
    *("model_response", "llm_response", "assistant_response", "bot_response", "chatgpt_response", "gpt_response"),
    *("generated_response", "response_text", "generated_text", "generated_answer", "model_answer", "llm_answer"),
    *("predicted_answer", "predicted", "pred", "assistant", "reply", "answer"),
)
# Usual column names for what the model was asked.
_QUESTIONS = (
    *("input", "question", "query", "user_input", "user_query", "user_question", "user_message", "user_prompt"),
    *("input_text", "input_query", "inputs", "prompt", "instruction", "request", "attributes.input.value"),
)
# Usual column names for what the model was given to answer from.
_CONTEXTS = (
    *("context", "contexts", "retrieved_contexts", "retrieved_context", "retrieval_context", "retrieved_documents"),
    *("retrieved_docs", "source_documents", "documents", "document", "docs", "doc", "passages", "passage"),
    *("retrieved_chunks", "chunks", "knowledge", "evidence", "reference_contexts"),
)
# Usual column names for what the model should have written.
_TRUTHS = (
    *("expected", "expected_output", "expected_answer", "expected_response", "ground_truth", "ground_truths"),
    *("reference", "reference_answer", "reference_output", "reference_response", "gold", "gold_answer", "gold_label"),
    *("golden_answer", "correct_answer", "right_answer", "target", "ideal", "best_answer"),
)
_TALKS = ("conversation", "conversations", "messages", "dialogue", "dialog", "chat", "chat_history", "transcript")
_ORDERS = ("system_prompt", "system_message", "system_instruction", "system_instructions", "system")
# Template key -> column names that mean the same, the likelier first. The groups share no name, so that an answer is never
# taken for a reference, nor a question for a context.
ALIASES: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("output", "response", "hypothesis", "generated_value"), _ANSWERS),
    "input": _QUESTIONS,
    "prompt": ("instruction", "instructions", "user_prompt", *_QUESTIONS),
    "context": _CONTEXTS,
    **dict.fromkeys(("expected", "expected_response", "expected_text", "expected_value", "reference"), _TRUTHS),
    "conversation": _TALKS,
    "system_prompt": _ORDERS,
    "agent_prompt": ("prompt", *_ORDERS),
}
_LABELS = ("label", "labels", "true_label")
# Templates whose expected value may be a label. For all others a column `label` is more likely a person's verdict.
_CLASSIFIERS = frozenset(
    (
        *("accuracy", "balanced_accuracy", "cohen_kappa", "f1_score", "f_beta_score"),
        *("log_loss", "matthews_correlation", "precision_score", "recall_score"),
    )
)
# Templates whose keys are rankings, ratings, pictures or times, though they are called `output` or `expected`: a column of
# texts by the same name would not fit.
_NO_ALIASES = frozenset(
    (
        *("hit_rate", "mean_average_precision", "mrr", "ndcg_at_k", "precision_at_k", "recall_at_k"),
        *("non_llm_context_precision", "non_llm_context_recall", "fleiss_kappa"),
        *("image_properties", "latency_check", "psnr", "ssim"),
    )
)


@dataclass(frozen=True)
class Source:
    """The column, or the place inside of a column, that fills a template key."""

    place: Place
    how: Literal["named", "same name", "alias"]
    """Whether the mapping named the column, or it was found by the key's name or by an alias."""
    passed_over: tuple[str, ...] = ()
    """Other columns that could have filled the key by alias; they are printed before anything is sent."""

    @property
    def column(self) -> str:
        """The place as text, for display and for the ledger: `answer`, or `output.answer`."""
        return str(self.place)


@dataclass(frozen=True)
class Binding:
    """A check with the columns that fill its template's keys."""

    check: str
    """The check's name in the run."""
    template: Template
    model: str | None
    """The judge model; None for a template of plain code."""
    params: Mapping[str, Any]
    """The parameters that are the same for every row, in their own types."""
    sources: Mapping[str, Source]
    """Template key -> column. Every required key is here; an optional one may be missing."""
    param_sources: Mapping[str, Source] = field(default_factory=dict)
    """Parameter -> column, for parameters that each row gives."""
    good: tuple[str, ...] = ()
    """Choices that pass, as the plan says; empty: nobody said."""

    @property
    def scale(self) -> Scale:
        return scale_of(self.template.name, self.template.output, self.good)


def bind(
    plan: EvaluationPlan, columns: Sequence[str], catalogue: Catalogue, *, dataset: str = "the dataset"
) -> tuple[Binding, ...]:
    """Find the columns for each check: by the mapping first, then by name, then by alias.

    Names are compared without case, blanks, dashes and underscores. Raises one PlanError with every problem, which calls the
    dataset by the name `dataset`.
    """
    bound, unfit = _bound(plan, columns, catalogue)
    bindings = tuple(binding for _, binding in bound)
    offers = {
        found.check: Offer(found.template.name, found.template.output, found.template.choices) for found in bindings
    }
    problems = (
        *_unknown_templates(plan, catalogue),
        *_repeated_checks(bindings),
        *_misleading_names(plan.checks),
        *_wrong_keys(plan, bound, catalogue),
        *_missing_columns(plan, columns, dataset),
        *_unfilled_keys(plan, bound, columns, dataset),
        *_wrong_models(bindings),
        *unfit,
        *choice_problems(plan.good, offers),
        *gate_problems(plan.gates, {binding.check: binding.scale for binding in bindings}, said=plan.filled),
    )
    if problems:
        raise PlanError(*dict.fromkeys(problems))
    return bindings


def _bound(
    plan: EvaluationPlan, columns: Sequence[str], catalogue: Catalogue
) -> tuple[list[tuple[Check, Binding]], list[str]]:
    """The checks whose templates are in the catalogue, and the problems of their parameters."""
    known = [(check, template) for check in plan.checks if (template := catalogue.get(check.template))]
    keys = {key for _, template in known for key in template.keys}
    elsewhere = {name for _, template in known for name in parameters.rules(template) or ()}
    bound, unfit = [], []
    for check, template in known:
        by_row = _param_sources(check, template, plan.mapping, keys, columns)
        params, problems = parameters.read(template, check.params, elsewhere=elsewhere, by_row=by_row)
        whose = f"check {check.name!r}: " if check.name else ""  # else its template says which
        unfit += [whose + problem for problem in problems]
        model = (check.model or DEFAULT_JUDGE) if template.needs_model or template.models else None
        sources = _sources(template, settings_for(check, plan.mapping), columns)
        name = _name(plan, check, model)
        good = good_of(plan.good, name, template.name)
        bound.append((check, Binding(name, template, model, params, sources, by_row, good)))
    return bound, unfit


def _param_sources(
    check: Check, template: Template, mapping: Mapping[str, str], keys: Collection[str], columns: Sequence[str]
) -> dict[str, Source]:
    """Parameter -> column. A name in the mapping without a check is a key, if any template has a key of that name."""
    own = settings_for(check, {target: column for target, column in mapping.items() if target not in keys})
    places = {
        name: place_of(own[name], columns)
        for name in parameters.rules(template) or ()
        if name in own and name not in template.keys
    }
    return {name: Source(place, "named") for name, place in places.items() if place is not None}


def _name(plan: EvaluationPlan, check: Check, model: str | None) -> str:
    """The check's own name or its template's, with the model where several checks use the template."""
    repeated = sum(other.template == check.template and other.name is None for other in plan.checks) > 1
    return check.name or normalize("NFC", f"{check.template}:{model}" if repeated and model else check.template)


# Finding columns


def _sources(template: Template, mapping: Mapping[str, str], columns: Sequence[str]) -> dict[str, Source]:
    folded: dict[str, str] = {}
    for column in columns:
        if not column.startswith("__"):  # columns of a tool's own, such as promptfoo's __expected
            folded.setdefault(_fold(column), column)
    found: dict[str, Source] = {}
    for key in template.keys:
        if key in mapping:
            if (place := place_of(mapping[key], columns)) is not None:
                found[key] = Source(place, "named")
        elif (twin := key if key in columns else folded.get(_fold(key))) is not None:
            found[key] = Source(Place(twin), "same name")
    for key in template.keys:
        taken = {source.place.column for source in found.values()}
        if key not in found and key not in mapping and (free := _candidates(template, key, folded, taken)):
            found[key] = Source(Place(free[0]), "alias", tuple(free[1:]))
    return {key: found[key] for key in template.keys if key in found}


def _candidates(template: Template, key: str, folded: Mapping[str, str], taken: Iterable[str]) -> list[str]:
    """Columns that may fill a key by alias, the likelier first; none where two would fit equally well."""
    columns = [folded[name] for name in map(_fold, _aliases(template, key)) if name in folded]
    free = [column for column in columns if column not in taken]
    return [] if key == "text" and len(free) > 1 else free


def _aliases(template: Template, key: str) -> tuple[str, ...]:
    if template.name in _NO_ALIASES:
        return ()
    if key == "text":  # of an image or a voice it is not the answer
        return _ANSWERS if set(template.keys) <= {"text", "expected_text"} else ()
    names = ALIASES.get(key, ())
    return (*names, *_LABELS) if names is _TRUTHS and template.name in _CLASSIFIERS else names


def _fold(name: str) -> str:
    return re.sub(r"[\s_-]", "", name).casefold()


# Finding problems


def _unknown_templates(plan: EvaluationPlan, catalogue: Catalogue) -> Iterator[str]:
    if not plan.checks:
        yield "no check is asked for; add --template NAME, such as --template groundedness"
    for check in plan.checks:
        if catalogue.get(check.template) is None:
            yield (
                f"template {check.template!r} is not in {catalogue.source}"
                f"{did_you_mean(nearest(check.template, catalogue)) or '; check its name'}"
            )


def _repeated_checks(bindings: Sequence[Binding]) -> Iterator[str]:
    names = Counter(binding.check for binding in bindings)
    for binding in {binding.check: binding for binding in bindings}.values():
        if names[binding.check] > 1:
            yield (
                f"{names[binding.check]} checks are called {binding.check!r}; ask for it once, or give each a name of its own: "
                f"--check NAME={binding.template.name}"
            )


def _misleading_names(checks: Sequence[Check]) -> Iterator[str]:
    """A problem for each check named like another check's template: `NAME.x` would concern both."""
    for check in checks:
        if any(check.name == other.template != check.template for other in checks):
            yield f"check {check.name!r} has the name of a template that another check uses; give it another"


def _wrong_keys(plan: EvaluationPlan, bound: Sequence[tuple[Check, Binding]], catalogue: Catalogue) -> Iterator[str]:
    templates = [binding.template for _, binding in bound]
    asked = dict.fromkeys(name for check in plan.checks for name in (check.template, check.name) if name)
    all_known = len(bound) == len(plan.checks)
    for target in plan.mapping:
        prefix = target.rpartition(".")[0]
        scoped = {check.template: (key, binding.template) for check, binding in bound if (key := check.own(target))}
        if scoped:
            [(key, _), *_] = scoped.values()
            yield from _wrong_key(target, key, [template for _, template in scoped.values()])
        elif not prefix and templates:  # a template that is not known may have any key of the catalogue
            yield from _wrong_key(target, target, templates if all_known else [*catalogue.templates.values()])
        elif prefix and not any(target.startswith(f"{name}.") for name in asked):
            hint = did_you_mean(nearest(prefix, asked)) or f"; the checks use {listed(asked)}"
            yield f"mapping {target!r}: no check has the name or the template {prefix!r}{hint}"


def _wrong_key(target: str, key: str, templates: Sequence[Template]) -> Iterator[str]:
    keys = list(dict.fromkeys(k for template in templates for k in template.keys))
    params = list(dict.fromkeys(name for template in templates for name in parameters.rules(template) or ()))
    if key not in keys and key not in params:
        names = dict.fromkeys(template.name for template in templates)
        whose = listed(names) if len(names) <= MOST_LISTED else "any template"
        yield f"mapping {target!r}: {key!r} is not a key of {whose} (keys: {listed(keys)}){did_you_mean(nearest(key, [*keys, *params]))}"


def _missing_columns(plan: EvaluationPlan, columns: Sequence[str], dataset: str) -> Iterator[str]:
    named = [f"--map {target}={column}" for target, column in plan.mapping.items()]
    wanted = [*zip(plan.mapping.values(), named, strict=True)]
    if plan.id_column is not None:
        wanted.append((plan.id_column, f"--id {plan.id_column}"))
    for column, option in wanted:
        if place_of(column, columns) is None:
            yield f"{option}: {not_there(column, columns, dataset, _like(column, columns))}"


def _unfilled_keys(
    plan: EvaluationPlan, bound: Sequence[tuple[Check, Binding]], columns: Sequence[str], dataset: str
) -> Iterator[str]:
    needy: dict[str, list[Binding]] = {}
    for check, binding in bound:
        named = settings_for(check, plan.mapping)
        if not binding.template.keys:
            yield f"template {binding.template.name!r} takes no inputs, so there is nothing to put rows to; leave it out"
        for key in binding.template.required:
            if key not in binding.sources and key not in named:
                needy.setdefault(key, []).append(binding)
    for key, without in needy.items():
        names = dict.fromkeys(binding.template.name for binding in without)
        verb = "needs" if len(names) == 1 else "need"
        near = _like(key, columns)
        option = f"--map {quote(f'{key}={near[0]}')}" if near else f"--map {key}=COLUMN"
        yield (
            f"{listed(names)} {verb} {key!r}, and no column of {dataset} clearly fills it (it has: {listed(columns)});"
            f" say which: {option}"
        )


def _wrong_models(bindings: Sequence[Binding]) -> Iterator[str]:
    for binding in bindings:
        name, models = binding.template.name, binding.template.models
        if models and binding.model not in models:
            fault = f"does not take model {binding.model!r}" if binding.model else "needs a model"
            yield f"template {name!r} {fault} (it takes: {listed(models)}); write --template {name}:{models[0]}"


def _like(name: str, columns: Sequence[str]) -> list[str]:
    """Columns that are spelled like the name, or that are aliases of the same key."""
    kinds = [names for names in (_ANSWERS, _QUESTIONS, _CONTEXTS, _TRUTHS, _TALKS, _ORDERS) if name in names]
    kin = {_fold(other) for names in kinds or ([_ANSWERS] if name == "text" else []) for other in names}
    return nearest(name, columns) or [column for column in columns if _fold(column) in kin][:3]
