"""Where the keys come from, and what is said when they can't be used."""

from __future__ import annotations

import pytest

from fieval_tasks.api.client import CLOUD, Credentials
from fieval_tasks.core.errors import ExitCode, PlanError

VARIABLES = ("FI_API_KEY", "FI_SECRET_KEY", "FI_BASE_URL", "FI_WORKSPACE_ID", "FI_ORGANIZATION_ID")


class Environment:
    """The variables that Credentials reads; empty but for both keys."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._patch = patch
        for name in VARIABLES:
            patch.delenv(name, raising=False)
        self.set(FI_API_KEY="api-key", FI_SECRET_KEY="secret-key")

    def set(self, **variables: str) -> None:
        for name, value in variables.items():
            self._patch.setenv(name, value)

    def clear(self, name: str) -> None:
        self._patch.delenv(name)


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Environment:
    return Environment(monkeypatch)


def problem(base_url: str | None = None) -> str:
    """The one sentence with which the environment is refused."""
    with pytest.raises(PlanError) as told:
        Credentials.from_environment(base_url=base_url)
    [sentence] = told.value.problems
    assert told.value.exit_code is ExitCode.BAD_INPUT
    return sentence


def test_both_keys_are_enough_and_the_cloud_is_meant(environment: Environment) -> None:
    assert Credentials.in_environment()
    assert Credentials.from_environment() == Credentials("api-key", "secret-key", CLOUD)


def test_space_around_a_key_or_an_address_is_nobodys_intention(environment: Environment) -> None:
    environment.set(FI_API_KEY=" api-key\n", FI_BASE_URL=" http://localhost:8000/ ", FI_WORKSPACE_ID="w-1\n")
    credentials = Credentials.from_environment()
    assert (credentials.api_key, credentials.base_url) == ("api-key", "http://localhost:8000")
    assert credentials.headers["X-Workspace-Id"] == "w-1"


def test_a_given_address_goes_before_the_variable(environment: Environment) -> None:
    environment.set(FI_BASE_URL="http://localhost:8000")
    assert Credentials.from_environment().base_url == "http://localhost:8000"
    assert Credentials.from_environment(base_url="http://localhost:9000").base_url == "http://localhost:9000"


def test_workspace_and_organization_are_headers_only_when_set(environment: Environment) -> None:
    assert set(Credentials.from_environment().headers) == {"X-Api-Key", "X-Secret-Key"}
    environment.set(FI_WORKSPACE_ID="w-1", FI_ORGANIZATION_ID="")
    assert set(Credentials.from_environment().headers) == {"X-Api-Key", "X-Secret-Key", "X-Workspace-Id"}


@pytest.mark.parametrize("name", ["FI_API_KEY", "FI_SECRET_KEY"])
@pytest.mark.parametrize("blank", [None, "", "  ", "\n"])
def test_a_missing_or_blank_key_is_named_with_the_way_out(
    environment: Environment, name: str, blank: str | None
) -> None:
    if blank is None:
        environment.clear(name)
    else:
        environment.set(**{name: blank})
    assert not Credentials.in_environment()
    assert problem() == f"{name} not set: export the keys, or use --connection local"


def test_two_missing_keys_are_named_at_once(environment: Environment) -> None:
    environment.clear("FI_API_KEY")
    environment.clear("FI_SECRET_KEY")
    assert problem() == "FI_API_KEY and FI_SECRET_KEY not set: export the keys, or use --connection local"


@pytest.mark.parametrize("name", ["FI_API_KEY", "FI_SECRET_KEY", "FI_WORKSPACE_ID"])
@pytest.mark.parametrize("value", ["“curly-quotes”", "two\nlines", "two words", "a\tb", "\ufeffbom", "clé", "a\x7f"])
def test_what_no_header_can_carry_is_told_and_not_shown(environment: Environment, name: str, value: str) -> None:
    environment.set(**{name: value})
    sentence = problem()
    assert sentence.startswith(f"{name} holds a space, a curly quote or the like")
    assert value not in sentence


@pytest.mark.parametrize(
    "address",
    [
        "localhost:8000",
        "api.futureagi.com",
        "ftp://host",
        "file:///etc/passwd",
        "http://",
        "https:///sdk",
        "http://host?debug=1",
        "http://host/#top",
        "  ",
    ],
)
def test_an_address_that_is_no_web_address_is_shown(environment: Environment, address: str) -> None:
    sentence = f"base URL {address!r} is not a web address: write it as https://host or http://host:8000"
    assert problem(address) == sentence
    environment.set(FI_BASE_URL=address)
    assert problem() == sentence


@pytest.mark.parametrize(
    "address",
    [
        "http://host:port",
        "http://[::1",
        "http://a..b",
        "http://.",
        "http://xn--a",
        "http://ho\x00st",
        f"http://{'a' * 64}.test",
    ],
)
def test_an_address_that_can_not_be_read_is_shown_with_the_reason(environment: Environment, address: str) -> None:
    sentence = problem(address)
    assert sentence.startswith(f"base URL {address!r} can't be read (")
    assert sentence.endswith("): write it as https://host or http://host:8000")


@pytest.mark.parametrize("scheme", ["http", "https", "ftp"])
@pytest.mark.parametrize("address", ["user:hunter2@host", "hunter2@host", "user:hunter2@[::1", "user:hunter2@host?x=1"])
def test_a_password_in_the_address_is_refused_and_not_shown(
    environment: Environment, scheme: str, address: str
) -> None:
    sentence = problem(f"{scheme}://{address}")
    assert sentence.startswith("the base URL carries a user name or password")
    assert "hunter2" not in sentence


@pytest.mark.parametrize(
    "address",
    ["http://127.0.0.1:8000", "http://[::1]:8000", "https://host/behind/a/proxy", "HTTPS://Host", "http://é.test"],
)
def test_a_web_address_is_kept_as_it_was_written(environment: Environment, address: str) -> None:
    assert Credentials.from_environment(base_url=address + "/").base_url == address
