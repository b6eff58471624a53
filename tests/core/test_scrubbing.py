"""What is secret is in no text that was scrubbed, and nothing else in it is changed."""

from __future__ import annotations

import json
import logging
import traceback
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable
from html import escape
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieval_tasks.core import scrubbing
from fieval_tasks.core.errors import Lost, PlanError, Refused, RunStopped
from fieval_tasks.core.scrubbing import (
    MARK,
    forms_in_data,
    remember_secrets,
    remember_secrets_of,
    scrubbed,
    scrubbed_data,
    scrubbed_errors,
)

SECRET = "zq/s3cret+&=?<%>'\"\\zq"


@pytest.fixture(autouse=True)
def nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scrubbing, "_kept", {})


HELD: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "in Python": repr,
    "in JSON": json.dumps,
    "in Go's JSON": lambda s: json.dumps(s).replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"),
    "in a page": escape,
    "in a URL": quote,
    "in a part of a URL": lambda s: quote(s, safe=""),
    "in a form": quote_plus,
    "in hex": lambda s: s.encode().hex(),
    "in base64": lambda s: b64encode(s.encode()).decode(),
    "in base64 behind a name": lambda s: b64encode(f"x:{s}".encode()).decode(),
    "in base64 behind a longer name": lambda s: urlsafe_b64encode(f"xy:{s}!".encode()).decode(),
}


@pytest.mark.parametrize("held", [pytest.param(h, id=name) for name, h in HELD.items()])
def test_a_kept_secret_is_taken_out_in_any_form(held: Callable[[str], str]) -> None:
    text = held(SECRET)
    remember_secrets(SECRET)
    assert MARK in scrubbed(f"before {text} after")
    core = text.strip("'\"")[3:-4]
    assert core not in scrubbed(f"before {text} after")


@given(st.text(st.characters(codec="utf-8"), min_size=4), st.text(), st.text())
def test_no_kept_secret_is_ever_left(secret: str, before: str, after: str) -> None:
    scrubbing._kept.clear()
    remember_secrets(secret)
    told = scrubbed(before + secret + after)
    assert secret not in told.replace(MARK, "\0") or secret in MARK


def test_of_two_secrets_the_longer_goes_first() -> None:
    remember_secrets("abcd", "abcdefgh")
    assert scrubbed("abcdefgh") == MARK


def test_a_word_too_short_to_be_looked_for_stays() -> None:
    remember_secrets("an")
    assert scrubbed("an answer") == "an answer"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("see http://who:knows@proxy.test:3128/x", f"see http://{MARK}@proxy.test:3128/x"),
        ("https://token@host and ftp://a:b@c", f"https://{MARK}@host and ftp://{MARK}@c"),
        ("http://a:p@ss@host/", f"http://{MARK}@host/"),
        ("url='http://u:p@h', headers", f"url='http://{MARK}@h', headers"),
        ("postgresql+psycopg://u:p@h/db", f"postgresql+psycopg://{MARK}@h/db"),
        ("https://b.test/x?X-Amz-Signature=abc&y=1", f"https://b.test/x?X-Amz-Signature={MARK}&y=1"),
        ("h?y=1&sig=a%2Fb", f"h?y=1&sig={MARK}"),
        ("h?accessToken=abc&clientSecret=d", f"h?accessToken={MARK}&clientSecret={MARK}"),
        ("h?maxTokens=9&jwt=a.b.c", f"h?maxTokens=9&jwt={MARK}"),
        ("Proxy-Authorization: Basic abc=\nHost: h", f"Proxy-Authorization: {MARK}\nHost: h"),
        ("{'authorization': 'Bearer a.b.c', 'Host': 'h'}", f"{{'authorization': '{MARK}', 'Host': 'h'}}"),
        ("X-Api-Key: abc X-Secret-Key: def", f"X-Api-Key: {MARK} X-Secret-Key: {MARK}"),
    ],
)
def test_what_is_secret_wherever_it_stands(text: str, left: str) -> None:
    assert scrubbed(text) == left


@pytest.mark.parametrize(
    "text",
    [
        "ask me@there.test about http://a.test/c@d and key = output",
        "postgresql+psycopg://user:***@host/db",
        "postgresql://user@host/db",
        "abfs://container@account.dfs.core.windows.net/x",
        '{"a":"http://x","b":"me@there.test"}',
        "a basic understanding of authorization is needed",
        "missing keys: input, token",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert scrubbed(text) == text


@pytest.mark.parametrize(
    ("variable", "value", "secret"),
    [
        ("FI_SECRET_KEY", "a-key-of-mine", "a-key-of-mine"),
        ("PREFECT_API_AUTH_STRING", "admin:let-me-in", "admin:let-me-in"),
        ("AWS_SECRET_ACCESS_KEY", "abcdefgh12", "abcdefgh12"),
        ("PGPASSWORD", "let-me-in", "let-me-in"),
        ("DB_PWD", "let-me-in", "let-me-in"),
        ("GITHUB_PAT", "let-me-in", "let-me-in"),
        ("DB_PASS", "let-me-in", "let-me-in"),
        ("AZURE_STORAGE_CONNECTION_STRING", "AccountKey=abc;", "AccountKey=abc;"),
        ("FIEVAL_STORE_URL", "postgresql://who:let@me-in@db/x", "me-in"),
        ("FIEVAL_STORE_URL", "postgresql+psycopg://who:let/me#in@db/x", "let/me#in"),
        ("FIEVAL_STORE_URL", "postgresql://who@there:let/me#in@db/x", "let/me#in"),
        ("FIEVAL_STORE_URL", "postgresql:///x?user=who&password=let-me%2Din", "let-me-in"),
        ("HTTPS_PROXY", "http://who:kn%40ws@proxy:1", "kn@ws"),
        ("HTTPS_PROXY", "http://who:kn%40ws@proxy:1", b64encode(b"who:kn@ws").decode()),
        ("FIEVAL_STORE_URL", "postgresql://who:let-me-in@db/x", "let-me-in"),
    ],
)
def test_what_the_environment_holds_is_known(
    variable: str, value: str, secret: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    assert scrubbed(f"it said {secret} twice") == f"it said {MARK} twice"


def test_the_name_of_a_databases_user_is_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIEVAL_STORE_URL", "postgresql+psycopg://postgres@db/x")
    said = "the answer names postgres; kept in postgresql://postgres@db/x"
    assert scrubbed(said) == said


def test_the_folder_in_which_a_shell_works_is_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PWD", "/home/somebody/work")
    command = "python -m flows.collect RUN --store sqlite:////home/somebody/here/ledger.db"
    assert scrubbed(command) == command


def test_every_error_of_ours_is_scrubbed_at_its_birth() -> None:
    remember_secrets_of("http://who:kn%40ws-it@proxy:1")
    refused = Refused("no kn@ws-it: kn%40ws-it", request_id="kn@ws-it")
    for error in (PlanError("a", "kn@ws-it"), Lost("kn@ws-it"), RunStopped("x kn@ws-it"), refused):
        assert "ws-it" not in f"{error} {error!r} {vars(error)}"
        assert MARK in str(error)


def test_replies_lose_the_keys_and_nothing_else() -> None:
    remember_secrets("unrelated-secret")
    secret = forms_in_data("key-of-mine")
    assert scrubbed_data(b"short unrelated-secret key-of-mine http://a:b@c", secret) == (
        b"short unrelated-secret [secret] http://a:b@c"
    )


class Telling(Exception):
    """Puts its words together from what it holds, as aiohttp's do."""

    def __init__(self, held: str) -> None:
        self.held = held

    def __str__(self) -> str:
        return f"request to {self.held}"


def test_an_error_that_nobody_foresaw_leaves_without_secrets(caplog: pytest.LogCaptureFixture) -> None:
    secret = "kn@ws" + "-it"  # a traceback shows the lines of this file, too
    remember_secrets(secret)
    for error in (ValueError(f"told {secret}"), Telling(f"http://who:{secret}@proxy")):
        with pytest.raises((ValueError, RuntimeError)) as told:
            _raised(error, because_of=Telling(secret))
        logging.getLogger("t").error("it failed", exc_info=told.value)
        shown = "".join(traceback.format_exception(told.value)) + caplog.text + repr(told.value)
        assert secret not in shown
        assert MARK in shown


def test_causes_that_tell_nothing_stay() -> None:
    with pytest.raises(RunStopped) as told:
        _raised(RunStopped("it stopped"), because_of=OSError("no such file"))
    assert isinstance(told.value.__cause__, OSError)


@scrubbed_errors()
def _raised(error: Exception, *, because_of: Exception) -> None:
    raise error from because_of


@pytest.mark.parametrize("piece", ["a", "://", "://a", "&a", "authorization ", "a:b@", "?sig=", "%41", "\\", "="])
def test_a_long_text_costs_no_more_than_its_length(piece: str) -> None:
    """Each of these is read in well under a second; what goes back at each letter would take hours."""
    remember_secrets("some-secret")
    scrubbed(piece * (2_000_000 // len(piece)))
