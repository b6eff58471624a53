"""Prefect blocks: the platform's keys, and an evaluation as a job to trigger now and wait for anywhere."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from time import monotonic
from typing import Annotated, Any, TypeVar
from uuid import UUID

import httpx
from prefect._internal.compatibility.async_dispatch import async_dispatch  # as Prefect's own integrations do
from prefect.blocks.abstract import CredentialsBlock, JobBlock, JobRun
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.exceptions import ObjectNotFound
from prefect.runtime import flow_run
from pydantic import AfterValidator, ConfigDict, Field, HttpUrl, SecretStr, ValidationError

from fieval_tasks.api.client import CLOUD, Credentials, EvalClient, checked_url
from fieval_tasks.core.errors import Interrupted, PlanError, RunStopped
from fieval_tasks.core.plan import EvaluationPlan, Mode
from fieval_tasks.core.refusals import sentences
from fieval_tasks.on_prefect.prefect_errors import why
from fieval_tasks.runs.conclusion import Ended, conclude, report_of
from fieval_tasks.runs.continuing import Continuation
from fieval_tasks.runs.preparation import Prepared, kept, prepared
from fieval_tasks.runs.threads import resumable, submit_all
from fieval_tasks.work.engine import current

T = TypeVar("T")

_LOGO = HttpUrl("https://github.com/future-agi.png")
"""Prefect takes no other than an address on the web here: no data URL, and no file of this package."""
_DOCUMENTATION = HttpUrl("https://docs.futureagi.com/docs/evaluation")


def _fits_a_header(text: str) -> str:
    if not text or not all("!" <= letter <= "~" for letter in text):
        raise ValueError(
            "it is empty, or holds a space, a curly quote or the like, which no key or id has: copy it again"
        )
    return text


def _key(secret: SecretStr) -> SecretStr:
    _fits_a_header(secret.get_secret_value())
    return secret


def _address(url: str) -> str:
    try:
        return checked_url(url)
    except PlanError as error:
        raise ValueError(str(error)) from error


Key = Annotated[SecretStr, AfterValidator(_key)]
Id = Annotated[str, AfterValidator(lambda text: text and _fits_a_header(text))]


class FutureAGICredentials(CredentialsBlock):
    """Keys of the Future AGI platform and where they are for."""

    model_config = ConfigDict(hide_input_in_errors=True)

    _block_type_name = "Future AGI Credentials"
    _block_type_slug = "futureagi-credentials"
    _logo_url = _LOGO
    _documentation_url = _DOCUMENTATION
    _description = "Keys of the Future AGI platform, or of a server of your own, and where they are for."
    _code_example = """\
```python
import asyncio

from fieval_tasks.blocks import FutureAGICredentials

async def judged(text):
    credentials = await FutureAGICredentials.load("prod")
    async with credentials.get_client() as client:
        return await client.evaluate("toxicity", {"output": text}, model="turing_flash")

print(asyncio.run(judged("You are great.")))
```"""

    api_key: Key = Field(title="API key", description="FI_API_KEY, from the platform's settings")
    secret_key: Key = Field(title="Secret key", description="FI_SECRET_KEY, shown beside it")
    base_url: Annotated[str, AfterValidator(_address)] = Field(
        default=CLOUD, title="Base URL", description="The cloud's; a self-hosted server is often http://localhost:8000"
    )
    workspace_id: Id = Field(default="", title="Workspace id", description="Empty: the keys' own")
    organization_id: Id = Field(default="", title="Organisation id", description="Empty: the keys' own")

    def credentials(self) -> Credentials:
        """The keys, for a client of this package."""
        return Credentials(
            api_key=self.api_key.get_secret_value(),
            secret_key=self.secret_key.get_secret_value(),
            base_url=self.base_url,
            workspace_id=self.workspace_id or None,
            organization_id=self.organization_id or None,
        )

    def get_client(self, *, connections: int = 100) -> EvalClient:
        """A client of the evaluation API, to be used as an async context manager."""
        return EvalClient(self.credentials(), connections=connections)


def plan_with(credentials: object, plan: EvaluationPlan) -> EvaluationPlan:
    """The plan with the name of its keys, which is all that whoever works on the run later has of them.

    `credentials`: a saved block, a reference to one as Prefect's forms send it, or None. Raises PlanError.
    """
    if credentials is None:
        return plan
    name = _saved_name(credentials)
    if plan.connection not in (None, name):
        raise PlanError(
            f"credentials: this is {name!r} and the plan's connection is {plan.connection!r}; keep one of them"
        )
    return plan.model_copy(update={"connection": name})


def _saved_name(credentials: object) -> str:
    if isinstance(credentials, Mapping) and [*credentials] == ["$ref"]:
        return _referred_name(credentials["$ref"])
    if not isinstance(credentials, FutureAGICredentials):
        raise PlanError(
            "credentials: this is no saved block of keys; name one as the plan's connection, or load it with "
            "FutureAGICredentials.load('prod'). Keys that were given here in clear are in Prefect's database: replace them"
        )
    if credentials._block_document_name is None:
        raise PlanError(
            "credentials: they are not saved, so whoever carries the run on could not find them; save them first, as in "
            "credentials.save('prod')"
        )
    return credentials._block_document_name


def _referred_name(reference: Any) -> str:
    """Of the block that a form's reference means. The keys in it stay where they are."""
    document_id = reference.get("block_document_id") if isinstance(reference, Mapping) else reference
    try:
        with _keeper_of_keys() as client:
            found = client.read_block_document(UUID(str(document_id)), include_secrets=False)
    except (ObjectNotFound, ValueError) as error:
        raise PlanError("credentials: the block that was chosen is not there any more; choose another") from error
    slug = found.block_type.slug if found.block_type else None
    if slug != FutureAGICredentials.get_block_type_slug() or found.name is None:
        raise PlanError(f"credentials: a block of type {slug} holds no keys of Future AGI; choose another")
    return found.name


@contextmanager
def _keeper_of_keys() -> Iterator[SyncPrefectClient]:
    try:
        with get_client(sync_client=True) as client:
            yield client
    except httpx.HTTPError as error:
        raise RunStopped(f"the Prefect API, which keeps the block of keys, can't be asked ({why(error)})") from error


def load_credentials(name: str) -> Credentials:
    """The keys in the block of that name. Raises PlanError where there is none, and RunStopped without a Prefect API."""
    with _keeper_of_keys() as client:
        slug = FutureAGICredentials.get_block_type_slug()
        found = client.read_block_documents_by_type(block_type_slug=slug, include_secrets=False)
    known = sorted(document.name for document in found if document.name)
    if name not in known:
        has = f"there are: {', '.join(known)}" if known else "there is none yet"
        raise PlanError(
            f"--connection {name!r} is neither local nor env, nor a saved block of keys ({has}): make it in the Prefect "
            f"UI (Blocks, Future AGI Credentials), or in Python with FutureAGICredentials(...).save({name!r})"
        )
    try:
        block: Any = FutureAGICredentials.load(name, _sync=True)  # type: ignore[call-arg]  # Prefect's own switch
    except RuntimeError as error:  # the UI's form takes anything
        if not isinstance(error.__cause__, ValidationError):
            raise
        wrong = "; ".join(sentences(error.__cause__, FutureAGICredentials))
        raise PlanError(
            f"the block of keys {name!r} can't be used: {wrong}; mend it in the Prefect UI (Blocks)"
        ) from None
    keys: Credentials = block.credentials()
    return keys


class EvaluationRun(JobRun[dict[str, Any]]):
    """A run that was triggered. It knows only the run's name and its ledger, so that any process can wait for it."""

    def __init__(self, run_id: str, *, store: str | None = None) -> None:
        """`store`: the ledger's URL; None: FIEVAL_STORE_URL, else the one in the working folder."""
        self.run_id = run_id
        self.store = store
        self._summary: dict[str, Any] | None = None

    async def await_for_completion(self) -> None:
        """`wait_for_completion`, for async callers."""
        await self.aside(self._wait)

    @async_dispatch(await_for_completion)
    def wait_for_completion(self) -> None:  # type: ignore[override]  # a Logger, by a slip of Prefect's
        """Ask for the verdicts until each item has one or is past its time, and write the run's files.

        Raises RunStopped where the run can't go on. A failed gate is no error here: the result says it.
        """
        self._wait()

    async def afetch_result(self) -> dict[str, Any]:
        """`fetch_result`, for async callers."""
        return await self.aside(self._fetch)

    @async_dispatch(afetch_result)
    def fetch_result(self) -> dict[str, Any]:  # type: ignore[override]  # Prefect's is async only
        """The summary, as in summary.json. Before the run was waited for, it is how things stand now: nothing is written."""
        return self._fetch()

    def submit(self) -> None:
        """Send every item that was not sent yet. Raises RunStopped where that can't go on."""
        with self._at_work() as run, run.engine(Mode.SUBMIT) as engine:
            sent = submit_all(engine)
            notices = engine.notices
        for line in (*notices, f"{sent:,} items submitted"):
            self.logger.info("run %s: %s", self.run_id, line)

    def _wait(self) -> None:
        began = monotonic()
        with self._at_work() as run:
            with run.engine(Mode.ASYNC) as engine:
                engine.settle()
                while engine.wait_for_others():
                    engine.settle()
                ended = Ended(notices=engine.notices)
            outcome = conclude(run, ended, seconds=monotonic() - began)
        self._summary = outcome.report.to_json()
        self.logger.info(outcome.message)

    def _fetch(self) -> dict[str, Any]:
        if self._summary is not None:
            return self._summary
        with kept(self.run_id, self.store) as run:
            return report_of(run).to_json()

    @contextmanager
    def _at_work(self) -> Iterator[Prepared]:
        with prepared(Continuation(self.run_id, self.store)) as run, resumable(run):
            run.ledger.started(run.run_id, flow_run_id=flow_run.id or run.run.flow_run_id)
            yield run

    async def aside(self, work: Callable[[], T]) -> T:
        """Work that blocks, in a thread of its own; where the caller is cancelled, it ends in order."""
        try:
            return await asyncio.to_thread(work)
        except asyncio.CancelledError:
            if (engine := current(self.run_id)) is not None:
                engine.stop(Interrupted("cancelled"))
            raise


class EvaluationJob(JobBlock):  # type: ignore[type-arg]  # a JobBlock[...] would be registered as a block of its own
    """An evaluation, kept in Prefect under a name: triggered in one place, waited for in any other."""

    _block_type_name = "Future AGI Evaluation"
    _block_type_slug = "futureagi-evaluation"
    _logo_url = _LOGO
    _documentation_url = _DOCUMENTATION
    _description = "Submits a dataset to Future AGI evaluations; its run is waited for here or anywhere else."
    _code_example = """\
```python
from fieval_tasks.blocks import EvaluationJob

run = EvaluationJob.load("answers").trigger()  # everything is submitted
run.wait_for_completion()
summary = run.fetch_result()
```"""

    plan: EvaluationPlan = Field(
        title="Plan", description="What is evaluated, and how. Its mode says nothing here: a job always submits first"
    )
    credentials: FutureAGICredentials | None = Field(
        default=None, title="Credentials", description="A saved block of keys; empty: the plan's connection"
    )

    async def atrigger(self) -> EvaluationRun:
        """`trigger`, for async callers."""
        run = await asyncio.to_thread(self._begun)
        await run.aside(run.submit)
        return run

    @async_dispatch(atrigger)
    def trigger(self) -> EvaluationRun:  # type: ignore[override]  # Prefect's is async only
        """Submit everything, and come back without waiting for a verdict.

        Raises PlanError, with every problem, before anything is sent, and RunStopped where the run can't go on.
        """
        run = self._begun()
        run.submit()
        return run

    def _begun(self) -> EvaluationRun:
        with prepared(self._whole_plan) as run:
            for line in run.described():
                self.logger.info(line)
            return EvaluationRun(run.run_id, store=self.plan.store)

    @property
    def _whole_plan(self) -> EvaluationPlan:
        return plan_with(self.credentials, self.plan.model_copy(update={"mode": Mode.ASYNC}))
