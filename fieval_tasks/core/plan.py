"""The evaluation plan: what a run evaluates, and how. Its fields make the command's options and the Prefect UI's form."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    ModelWrapValidatorHandler,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import CoreSchema

from fieval_tasks.core.budget import Amount
from fieval_tasks.core.errors import PlanError
from fieval_tasks.core.plan_fields import (
    Address,
    Delimiter,
    Destination,
    GateTexts,
    GoodChoices,
    Locations,
    Mapped,
    Positive,
    RunName,
    StoreUrl,
    check_name,
    long_enough_to_reuse,
)
from fieval_tasks.core.policy import OnLostReply, OnStuck
from fieval_tasks.core.quantities import Allowance, Precision, Rate, Seconds, Share
from fieval_tasks.core.refusals import sentences
from fieval_tasks.core.templates import bundled_catalogue
from fieval_tasks.core.tiers import TierName

T = TypeVar("T")

DEFAULT_JUDGE = "turing_flash"
"""The platform's quickest judge model; used where a judge template is given none."""
# One nightly run in a hundred, at most, passes or fails wrongly for having stopped early.
SETTLING_CONFIDENCE = 0.99
"""Of a run that stops early, where --confidence says nothing."""
USUAL_CONFIDENCE = 0.95
"""Of everything else that has a confidence, where --confidence says nothing."""
SHARD_DEPLOYMENT = "evaluate-shard/shard"
"""The deployment (FLOW/DEPLOYMENT) that a run's shards are flow runs of, unless another one is named."""
MOST_SHARDS = 100
# 11 repeats recover the verdict of 50 at 95 % (arXiv:2606.13685). Far more are a typing error that costs money.
MOST_REPEATS = 50
DEFAULT_MARGIN = "2%"
"""Two points: 1,175 pairs show that with 80 % power where 6 % of them differ (Connor 1987), as many as a usual run has."""
SHOWN_FIRST = ("dataset", "checks", "mapping", "gates", "limit", "connection")
"""Fields that the Prefect UI's form shows at once: what most runs need to say."""
FOLDED = "further"
"""The field of a form's parameters under which all others are folded."""
RENAMED = {"ambiguous": "on_lost_reply", "orphans": "on_stuck"}
"""Old field name -> new one, for plans that an earlier version stored in a ledger or as a deployment's parameters."""


class Mode(str, Enum):
    """How a run fetches its verdicts."""

    AUTO = "auto"
    """Whichever of async and sync spends fewer requests under the limits that bind."""
    ASYNC = "async"
    """Submit, then poll until the verdict is there."""
    SYNC = "sync"
    """Each request waits for its verdict."""
    SUBMIT = "submit"
    """Submit and end; `python -m flows.collect RUN` fetches the verdicts later."""


def _to_choose_from(schema: dict[str, Any]) -> None:
    """Have a form offer the platform's template names, and take any other text for a project's own templates."""
    del schema["type"]
    names = sorted(bundled_catalogue())
    schema["anyOf"] = [
        {"type": "string", "enum": names, "title": "of the platform"},
        {"type": "string", "title": "of your own"},
    ]


def _title(name: str, _: object) -> str:
    return name.replace("_", " ").capitalize()


class Check(BaseModel):
    """A template with a model and parameters, which every row is put to."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, field_title_generator=_title)

    template: str = Field(json_schema_extra=_to_choose_from)
    """Name of an evaluation template, such as groundedness."""
    model: str | None = None
    """Judge model, such as turing_small."""
    params: dict[str, Any] = {}
    """The template's parameters, sent as config.params."""
    name: str | None = None
    """What results and gates call it, such as refund; default: its template's name."""

    @field_validator("name")
    @classmethod
    def _name_is_plain(cls, value: str | None) -> str | None:
        """A form sends an empty field as empty text."""
        return check_name(value) if value else None

    @classmethod
    def parse(cls, text: str) -> Check:
        """`groundedness:turing_small` -> Check. A name alone leaves the model open."""
        template, _, model = (part.strip() for part in text.partition(":"))
        if not template:
            raise PlanError(f"--template {text!r}: expected NAME or NAME:MODEL")
        return cls(template=template, model=model or None)

    @classmethod
    def named(cls, text: str) -> Check:
        """`refund=contains` -> a Check of that name."""
        name, _, rest = (part.strip() for part in text.partition("="))
        try:
            if not rest:
                raise ValueError("its template is missing")
            return cls.parse(rest).model_copy(update={"name": check_name(name)})
        except ValueError as error:
            raise PlanError(f"--check {text!r}: expected NAME=TEMPLATE or NAME=TEMPLATE:MODEL; {error}") from None

    def own(self, target: str) -> str | None:
        """`refund.keyword` -> `keyword`, if the prefix is this check's name or its template's; else None."""
        prefixes = (f"{name}." for name in (self.name, self.template))
        return next((target.removeprefix(prefix) for prefix in prefixes if target.startswith(prefix)), None)


class EvaluationPlan(BaseModel):
    """Everything that decides what a run does. Holds no rows, ids or secrets."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, hide_input_in_errors=True, use_attribute_docstrings=True,
        field_title_generator=_title,
    )  # fmt: skip

    dataset: Locations | None = None
    """CSV, TSV, JSON, JSONL, YAML or Parquet: files (one a line), a folder, a pattern or a URL; default: the bundled sample."""
    checks: tuple[Check, ...] = ()
    """Templates that each row is put to."""
    mapping: Mapped = Field(default={}, title="Column mapping")
    """[CHECK.]KEY -> column of the dataset, KEY being a template's key or one of its parameters; keys that are not named are
    matched by name, then by alias."""
    gates: GateTexts = ()
    """What must hold for the run to be good, such as groundedness.pass_rate >= 0.95."""
    confidence: Annotated[float, Field(gt=0.5, lt=1)] | None = None
    """Judge gates on rates, means and quantiles for what the rows are a sample of, such as 0.95; default: for these rows. With
    stop_when_decided it is how sure the outcome for these rows has to be."""
    stop_when_decided: bool = False
    """Evaluate the rows in a random order, and send no more once a gate fails or all pass, for certain or at the confidence
    (default: 0.99)."""
    good: GoodChoices = Field(default={}, title="Good choices")
    """CHECK=CHOICE,CHOICE: the choices that pass, so that a check that answers with choices has a pass rate."""
    labels: Locations | None = None
    """A sheet of flows.label that people filled in: their labels correct the pass rate of its check."""
    labelling_policy: Annotated[str, Field(max_length=200)] | None = None
    """Only labels made under the policy of that name; default: the newest."""
    baseline: Annotated[str, Field(min_length=1)] | None = None
    """Compare with this run when all is judged: its name, blessed (see flows.bless), last, or a file that flows.bless wrote."""
    baseline_max_age: Annotated[Seconds, Field(gt=0)] | None = None
    """Warn of a baseline that is older: seconds, or text such as 30d."""
    margin: Share = DEFAULT_MARGIN
    """A difference from the baseline that is as good as none, such as 2% (default: 2 points)."""
    cluster: str | None = None
    """Column whose rows with the same value are not independent, such as conversation_id: they are compared as one."""
    where: str | None = None
    """Only rows of which this is true, such as lang == 'fr' and score < 0.5."""
    limit: Positive | None = None
    """Only the first N rows, of those that where chooses."""
    connection: str | None = None
    """local, env or the name of a block of keys; default: env where the keys are set, else local."""
    id_column: str | None = None
    """Column with each row's id; default: ids are made from the content."""
    allow_failures: Allowance | None = None
    """Items without a verdict that are still fine: N or P%."""
    mode: Mode = Mode.ASYNC
    """async (default): submit, then poll; sync: wait in each request; auto: the cheaper of both; submit: collect later."""
    sample: Positive | None = None
    """N rows drawn at random, of those that where and limit leave."""
    precision: Precision | None = None
    """Draws the sample by which a pass rate is known to plus or minus this, at 95 %: 0.02 or 2%."""
    stratify: str | None = None
    """With sample: the column whose values the sample holds in the same shares as the rows that it is drawn from."""
    seed: int = 0
    """Seed of the random sample."""
    prices: dict[str, Amount] = Field(default={}, title="Prices")
    """MODEL=X: what one evaluation by that judge model costs, such as turing_flash=0.002, in whichever currency."""
    max_cost: Amount | None = None
    """Hard end: what the run may cost at most, by the prices; what may be paid twice counts."""
    max_items: Positive | None = None
    """Hard end: evaluations that the run sends at most, those that are sent again included."""
    sharing: bool = True
    """Rows that are the same share one evaluation; off: each copy is evaluated, and paid, on its own."""
    repeats: int = Field(default=1, ge=1, le=MOST_REPEATS)
    """Evaluations of each item, to see how far the judge agrees with itself. Each is paid, and counts in the figures."""
    audit: Share | None = None
    """A part of the rows, such as 5%, that is judged twice, to see how noisy the judge is. It counts in no figure."""
    reuse: Annotated[Seconds, AfterValidator(long_enough_to_reuse)] | None = None
    """Verdicts that earlier runs of this ledger got for the very same items (template, model, parameters, inputs), at the same
    server and account, are reused if they are no older: seconds, or text such as 7d. They cost nothing."""
    format: Literal["csv", "tsv", "jsonl", "json", "yaml", "parquet"] | None = None
    """Format of the dataset; default: by its file's extension."""
    delimiter: Delimiter | None = None
    """Delimiter of the cells of CSV; default: recognised from its header and rows."""
    rows: str | None = None
    """Where the rows are in a document of JSON or YAML, such as results.examples; default: its one list of objects."""
    concurrency: int = Field(default=96, ge=1, le=1000)
    """Requests in flight at most."""
    rate: Rate | None = None
    """Requests at most, such as 20/s or 600/min."""
    tier: TierName | None = None
    """Rate-limit tier of the account: default, custom, none, or the evaluations by each judge model at most, such as
    50/min,300/h,1000/day; default: recognised by what is refused."""
    shared_limit: Annotated[str, Field(min_length=1)] | None = None
    """A Prefect global concurrency limit with slot decay: the requests a second of all runs that name it."""
    timeout: Annotated[Seconds, Field(gt=0)] | None = None
    """Seconds for the whole run, or text such as 2h."""
    item_timeout: Annotated[Seconds, Field(gt=0)] = 600.0
    """Seconds to wait for one verdict, or text such as 10m."""
    run: RunName | None = Field(default=None, title="Run name")
    """The run's name; default: a readable one is made."""
    resume: str | None = None
    """A run to carry on, or last."""
    retry_failed: bool = False
    """With resume: also the failed items."""
    same_account: bool = False
    """With resume: the keys or the address are new, and the account is the one that the run began with."""
    keep: tuple[str, ...] = Field(default=(), title="Columns to keep")
    """Columns of the dataset beside each result; all: every one."""
    output: str | None = Field(default=None, title="Output folder")
    """Where the files go; default: fieval-runs/RUN."""
    store: StoreUrl | None = None
    """The ledger's URL; default: FIEVAL_STORE_URL, else fieval-runs/ledger.db."""
    to: tuple[Destination, ...] = Field(default=(), title="Verdicts also to")
    """A table of your own that also gets the verdicts, as they arrive: postgresql://HOST/DB#SCHEMA.TABLE, sqlite:///FILE#TABLE or
    duckdb:///FILE#TABLE. What it takes to log in comes from the environment alone. Or otel: OpenTelemetry, as you have configured it."""
    base_url: Address | None = Field(default=None, title="Base URL")
    """The platform's address; default: FI_BASE_URL, else the cloud. A deployment takes none."""
    chunk_size: Positive | None = None
    """Items per submit task."""
    on_lost_reply: OnLostReply | None = None
    """Where the reply to a submission is lost: resubmit (default) once more, perhaps paid twice; fail; ask: leave it pending."""
    on_stuck: OnStuck | None = None
    """Where the server seems to have forgotten an evaluation: wait (default) up to the item timeout; resubmit once more,
    perhaps paid twice."""

    @property
    def settling_confidence(self) -> float:
        """At which a run that stops early settles its gates, all of them together."""
        return self.confidence or SETTLING_CONFIDENCE

    @property
    def usual_confidence(self) -> float:
        """At which an interval is meant that has one in any case: of a corrected rate, or of a sample's precision."""
        return self.confidence or USUAL_CONFIDENCE

    @property
    def filled(self) -> frozenset[str]:
        """The fields that have a value."""
        return frozenset(name for name, value in self if value)

    @field_validator("*", mode="before")
    @classmethod
    def _empty_is_nothing(cls, value: Any, field: ValidationInfo) -> Any:
        """A form sends an empty field as empty text."""
        return cls.model_fields[field.field_name or ""].get_default() if value == "" else value

    @model_validator(mode="after")
    def _options_agree(self) -> EvaluationPlan:
        faults = {
            "retry_failed: needs resume, the run whose failed items are to be tried again":
                self.retry_failed and not self.resume,
            "same_account: needs resume, the run whose keys or address are new":
                self.same_account and not self.resume,
            "stop_when_decided: needs a gate to be decided, such as groundedness.pass_rate >= 0.95":
                self.stop_when_decided and not (self.gates or self.resume),
            "stop_when_decided: mode submit waits for no verdict, so nothing would be decided; take async":
                self.stop_when_decided and self.mode == "submit",
            "stop_when_decided counts one verdict of each row, and repeats asks for more: leave one of them out":
                self.stop_when_decided and self.repeats > 1,
            "stratify: needs sample or precision, by which rows are drawn in the shares of that column":
                self.stratify and not (self.sample or self.precision),
            "audit judges a part twice, and repeats all of it more than once: leave one of them out":
                self.audit and self.repeats > 1,
            "reuse would give all copies of a row one earlier verdict, and no sharing asks for one each: leave one of them out":
                self.reuse and not self.sharing,
            "baseline_max_age: needs baseline, what the run is compared with":
                self.baseline_max_age and not self.baseline,
            "run names a new run and resume is one to carry on: leave one of them out":
                self.run and self.resume not in (None, self.run),
        }  # fmt: skip
        if met := [sentence for sentence, is_met in faults.items() if is_met]:
            raise ValueError("; ".join(met))
        return self

    @property
    def is_repeated(self) -> bool:
        """Whether some items are evaluated more than once."""
        return self.repeats > 1 or self.audit is not None

    @model_validator(mode="wrap")
    @classmethod
    def _refused_in_sentences(cls, given: Any, read: ModelWrapValidatorHandler[EvaluationPlan]) -> EvaluationPlan:
        try:
            return read(unfolded(given))
        except ValidationError as error:
            raise PlanError(*sentences(error, cls)) from None  # pydantic's own text may repeat what was given

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """The schema of Prefect's form: all fields but SHOWN_FIRST are folded under one field, `FOLDED`.

        They may also stand beside it, as in parameters that were stored before there was that field.
        """
        referred = handler(core)
        schema = handler.resolve_ref_schema(referred)
        fields: dict[str, Any] = schema["properties"]
        folded = {name: fields.pop(name) for name in [*fields] if name not in SHOWN_FIRST}
        group = {"type": "object", "title": "Options", "properties": folded, "additionalProperties": False}
        about = "Which rows, when to stop, baseline, labels, prices and ends, repeats; mode, speed, names, files, what is resumed"
        fields[FOLDED] = {
            "title": "Further options", "description": about, "default": None, "anyOf": [group, {"type": "null"}],
        }  # fmt: skip
        schema["patternProperties"] = {f"^({'|'.join((*folded, *RENAMED))})$": {}}
        return referred


def unfolded(given: Any) -> Any:
    """A form's parameters with the fields under `FOLDED` moved beside the others.

    A form that shows a field also sends its default, so a default never overrides the value on the other side. Raises
    PlanError where a field stands on both sides with two values that are no defaults.
    """
    if not isinstance(given, Mapping) or not isinstance(inner := given.get(FOLDED, {}) or {}, Mapping):
        return given
    inner = _as_now_named(inner)
    outer = _as_now_named({name: value for name, value in given.items() if name != FOLDED})
    said = {name: value for name, value in inner.items() if name not in outer or not _is_default(name, value)}
    meant = {name: value for name, value in outer.items() if name not in said or not _is_default(name, value)}
    if twice := [name for name in said.keys() & meant.keys() if _plain(said[name]) != _plain(meant[name])]:
        raise PlanError(
            *(
                f"{name}: it is said twice, beside {FOLDED} and in it, and not the same; leave one out"
                for name in sorted(twice)
            )
        )
    return {**said, **meant}


def _as_now_named(given: Mapping[Any, Any]) -> dict[Any, Any]:
    return {RENAMED[name]: value for name, value in given.items() if name in RENAMED} | {
        name: value for name, value in given.items() if name not in RENAMED
    }


def _is_default(name: str, value: Any) -> bool:
    """Whether the value is empty or the field's default."""
    field = EvaluationPlan.model_fields.get(name)
    return value in (None, "") or (field is not None and _plain(value) == _plain(field.get_default()))


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def settings_for(check: Check, said: Mapping[str, T]) -> dict[str, T]:
    """The settings of one check: those given for all checks, overridden by its template's, overridden by its own."""
    found = {name: value for name, value in said.items() if "." not in name}
    for owner in (check.template, check.name):
        mine = {check.own(name): value for name, value in said.items() if name.startswith(f"{owner}.")}
        found |= {name: value for name, value in mine.items() if name}
    return found
