"""Removing secrets from every text that may be shown or kept.

Secret are: what was given to `remember_secrets`; the values of environment variables whose names say so; the user name and
password of any URL; signatures in a URL's query; and what follows the name of a header that carries keys.
"""

from __future__ import annotations

import json
import os
import re
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from html import escape
from typing import NoReturn
from urllib.parse import parse_qsl, quote, quote_plus, unquote, urlsplit

MARK = "[secret]"
"""The text that replaces a secret."""
# A shorter one would be found in any sentence.
SHORTEST = 4
"""Characters of the shortest secret that is searched for."""
# In a server's reply a word that only looks like the secret may be part of somebody's answer.
SHORTEST_IN_DATA = 8
"""Characters of the shortest secret that is searched for in a server's reply."""
# A worker process that runs for years may see many keys, and each costs a search of every text.
MOST_KEPT = 100
"""Remembered secrets; the oldest is forgotten first."""
# Words in the name of an environment variable, or of a URL's parameter, whose value is secret.
_SECRET_WORDS = {
    *("signature", "sig", "token", "secret", "password", "passwd", "pwd", "credential", "credentials", "auth"),
    *("apikey", "accesskey", "awsaccesskeyid", "privatekey", "secretkey", "accountkey", "pgpassword", "sslpassword"),
    *("accesstoken", "authtoken", "pass", "passphrase", "bearer", "jwt", "sas", "pat", "hmac"),
}
# The variable in which each shell names the folder; of others, pwd is a password.
_WORKING_FOLDER = "PWD"

_kept: dict[str, None] = {}


def remember_secrets(*secrets: str | None) -> None:
    """Have `scrubbed` remove these texts from now on."""
    for secret in filter(None, secrets):
        _kept.pop(secret, None)
        _kept[secret] = None
    for oldest in [*_kept][:-MOST_KEPT]:
        del _kept[oldest]


def remember_secrets_of(url: str) -> None:
    """Have `scrubbed` remove this URL's password and signature from now on."""
    remember_secrets(*_of_url(url))


def scrubbed(text: str) -> str:
    """The text without any secret, for a message, a log, a file or a database."""
    for form in _all_forms(frozenset((*_kept, *_of_environment()))):
        if form in text:
            text = text.replace(form, MARK)
    for pattern, instead in _PATTERNS:
        text = pattern.sub(instead, text)
    return text


def forms_in_data(*secrets: str) -> tuple[bytes, ...]:
    """The byte sequences that `scrubbed_data` is to remove for these secrets; those under SHORTEST_IN_DATA have none."""
    return tuple(form.encode() for form in _all_forms(frozenset(secrets)))


def scrubbed_data(data: bytes, secret: Sequence[bytes]) -> bytes:
    """A server's reply without the keys that were sent to it (`forms_in_data`); nothing else in it is changed."""
    for form in secret:
        if form in data:
            data = data.replace(form, MARK.encode())
    return data


def without_secrets(error: BaseException) -> BaseException:
    """The error with its message scrubbed, cut off from the first cause that holds a secret: a traceback shows all causes.

    An error whose message is built from other attributes can't be scrubbed: a RuntimeError with its message replaces it.
    """
    error.args = tuple(scrubbed(part) if isinstance(part, str) else part for part in error.args)
    if _holds_secret(error):
        return RuntimeError(scrubbed(f"{type(error).__name__}: {error}"))
    last = error
    while (cause := last.__cause__ or last.__context__) is not None:
        if _holds_secret(cause):
            last.__cause__ = last.__context__ = None
            break
        last.__context__ = cause
        last = cause
    return error


def raise_without_secrets(error: BaseException) -> NoReturn:
    """Raise an unexpected error scrubbed, so that Prefect or a log that keeps it keeps no secret."""
    shown = without_secrets(error)
    raise shown from shown.__cause__


@contextmanager
def scrubbed_errors() -> Iterator[None]:
    """Scrub every error raised in the block: for code whose errors Prefect logs and keeps."""
    try:
        yield
    except Exception as error:
        raise_without_secrets(error)


def _holds_secret(error: BaseException) -> bool:
    return any(scrubbed(words) != words for words in (str(error), repr(error)))


# -- what is secret --------------------------------------------------------------------------------------------------


def names_a_secret(name: str) -> bool:
    """Whether a variable or parameter of that name holds a secret, as FI_API_KEY, X-Amz-Signature, clientSecret and sig do."""
    whole, words = _words(name), _words(_HUMP.sub("_", name))
    return (
        words[-1:] == ["key"] or words[-2:] == ["connection", "string"] or not _SECRET_WORDS.isdisjoint(whole + words)
    )


def _words(name: str) -> list[str]:
    return [word for word in re.split(r"[^a-z0-9]+", name.lower()) if word]


# Between the words of camelCase.
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def _of_environment() -> Iterator[str]:
    for name, value in os.environ.items():
        if name != _WORKING_FOLDER and names_a_secret(name) and len(value) >= SHORTEST_IN_DATA:
            yield value.strip()
        if "://" in value and not {"@", "="}.isdisjoint(value):
            yield from _of_url(value)


def _of_url(url: str) -> Iterator[str]:
    """A URL's secrets: its password as written, percent-decoded, and as a Basic header's base64 with the user name; and the
    values of its query's secret parameters."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return
    user, has_password, password = parts.netloc.rpartition("@")[0].partition(":")
    # Of a database the user's name alone is none, and may be any word: it would be taken out of what judges say.
    secret = password if has_password else "" if parts.scheme.startswith("postgres") else user
    if secret:
        yield from (secret, unquote(secret), b64encode(unquote(f"{user}:{password}").encode()).decode())
        yield from secret.split("@")  # a reader that takes the first for the end shows the rest as the host
    elif parts.scheme.startswith("postgres") and ":" in (login := url.partition("://")[2].rpartition("@")[0]):
        yield login.partition(":")[2]  # with / or # in it, which SQLAlchemy takes and urlsplit does not
    yield from (value for name, value in parse_qsl(parts.query) if names_a_secret(name))


@lru_cache(maxsize=8)
def _all_forms(secrets: frozenset[str]) -> tuple[str, ...]:
    """Every form of all secrets, the longest first, since one may be a part of another."""
    found = {form for one in secrets if len(one) >= SHORTEST for form in forms(one)}
    return tuple(sorted(found, key=len, reverse=True))


@lru_cache(maxsize=2 * MOST_KEPT)
def forms(secret: str) -> frozenset[str]:
    """The secret as plain text and as it is escaped in URLs, HTML, JSON, Python's repr, hex and base64."""
    plain, in_json = secret.encode("utf-8", "replace"), json.dumps(secret)[1:-1]
    quoted = (quote(secret), quote(secret, safe=""), quote_plus(secret))
    found = {
        *(secret, escape(secret), repr(secret)[1:-1], plain.hex(), plain.hex().upper(), *_in_base64(plain)),
        *(in_json, in_json.replace("/", "\\/"), in_json.translate(_HTML_SAFE)),
        *(form for text in quoted for form in (text, text.replace("%", "%25"), _PERCENT.sub(_lowered, text))),
    }
    return frozenset(filter(None, found))


_PERCENT = re.compile("%[0-9A-F]{2}")
_HTML_SAFE = {ord(letter): f"\\u{ord(letter):04x}" for letter in "<>&"}  # as Go's encoder writes JSON


def _lowered(found: re.Match[str]) -> str:
    return found[0].lower()


def _in_base64(plain: bytes) -> Iterator[str]:
    """The base64 letters that the secret has at each of the three alignments in a longer text that was encoded as a whole."""
    for before in range(3):
        for encode in (b64encode, urlsafe_b64encode):
            whole = encode(bytes(before) + plain).decode()
            same = whole[-(-before * 8 // 6) : len(whole) if (before + len(plain)) % 3 == 0 else -4]
            if len(same) >= SHORTEST_IN_DATA:
                yield same


_USERINFO = re.compile(r"://([^\s/?#\"'`<>\\]*)@")
# Characters before a URL's colon that are looked at: postgresql+psycopg is the longest in use here.
LONGEST_SCHEME = 24
# Schemes whose user name alone opens nothing: that of a database, and Azure's name for a container.
_USER_IS_NO_SECRET = ("postgres", "abfs", "wasb")


def _without_userinfo(found: re.Match[str]) -> str:
    before = found.string[max(0, found.start() - LONGEST_SCHEME) : found.start()].lower()
    scheme = re.split(r"[^a-z0-9+.-]", before)[-1]
    is_open = found[1].endswith(":***") or (":" not in found[1] and scheme.startswith(_USER_IS_NO_SECRET))
    return found[0] if is_open else f"://{MARK}@"


def _without_signature(found: re.Match[str]) -> str:
    return f"{found[1]}={MARK}" if names_a_secret(found[1]) else found[0]


# Secrets that are recognised by the text around them: userinfo of a URL, signed parameters, headers with keys.
_PATTERNS: tuple[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]], ...] = (
    (_USERINFO, _without_userinfo),
    (re.compile(r"(?<=[?&#])([\w.-]+)=[^&#\s\"'<>]+"), _without_signature),
    (
        re.compile(
            r"(?i)\b((?:proxy-)?authorization|x-api-key|x-secret-key)(['\"]?\s*[:=]\s*['\"]?)(?:(?:basic|bearer|digest|negotiate|token) +)?[^\s'\",;]+"
        ),
        rf"\1\2{MARK}",
    ),
)
