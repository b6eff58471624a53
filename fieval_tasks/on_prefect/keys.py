"""The platform's keys as a Prefect block, by whose name a plan's connection means them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any
from uuid import UUID

import httpx
from prefect.blocks.abstract import CredentialsBlock
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.exceptions import ObjectNotFound
from pydantic import AfterValidator, ConfigDict, Field, HttpUrl, SecretStr, ValidationError

from fieval_tasks.api.client import CLOUD, Credentials, EvalClient, checked_url
from fieval_tasks.core.errors import PlanError, RunStopped
from fieval_tasks.core.plan import EvaluationPlan
from fieval_tasks.core.refusals import sentences
from fieval_tasks.on_prefect.prefect_errors import why
from fieval_tasks.on_prefect.prefect_names import unknown_block

LOGO = HttpUrl("https://github.com/future-agi.png")
"""Prefect takes no other than an address on the web here: no data URL, and no file of this package."""
DOCUMENTATION = HttpUrl("https://docs.futureagi.com/docs/evaluation")


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
    _logo_url = LOGO
    _documentation_url = DOCUMENTATION
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
        raise unknown_block(name, known)
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
