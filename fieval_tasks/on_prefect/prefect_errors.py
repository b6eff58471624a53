"""Errors of Prefect's client in words, with the Prefect setting that corrects each. Nothing here imports Prefect."""

from __future__ import annotations

import ssl
from collections.abc import Iterator

import httpx

from fieval_tasks.core.errors import in_words

UNTRUSTED = {10: "renew it", 62: "name the host in PREFECT_API_URL as the certificate does"}
"""What helps where a certificate has expired, or is for another host: OpenSSL's numbers. In all other cases, its CA."""


def why(error: BaseException) -> str:
    """The error as a predicate of the API, as in `it answers 401 …`, with the setting to change where there is one."""
    for cause in causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return _untrusted(cause)
        if isinstance(cause, ssl.SSLError):
            return (
                f"it can't be talked to by TLS ({in_words(cause)}): if it speaks none, write http:// in PREFECT_API_URL"
            )
        if isinstance(cause, httpx.HTTPStatusError):
            return answered(cause.response)
    if isinstance(error, (httpx.UnsupportedProtocol, httpx.InvalidURL)):
        return f"PREFECT_API_URL is no address such as http://127.0.0.1:4200/api ({in_words(error)})"
    if isinstance(error, (httpx.RemoteProtocolError, httpx.ReadError)):
        return f"it does not answer in HTTP ({in_words(error)}): if it speaks TLS, write https:// in PREFECT_API_URL"
    return in_words(error)


def answered(response: httpx.Response) -> str:
    """What is wrong with a Prefect API that answers so."""
    said = f"it answers {response.status_code} {response.reason_phrase}".rstrip()
    if response.status_code in (401, 403):
        return f"{said}: {_locked(response.request)}"
    if response.status_code in (502, 503, 504):
        return f"{said}: it is too busy, or the server behind what answers there is not up"
    if response.status_code == 400 and "https" in response.text.lower():
        return f"{said}: it speaks TLS, so write https:// in PREFECT_API_URL"
    if response.status_code >= 500:
        return said
    is_page = "html" in response.headers.get("content-type", "")
    said = (
        f"{'an HTML page, perhaps of a login' if is_page else 'nothing that is Prefect'}" + f" ({response.status_code})"
    )
    return f"it is no Prefect API: {response.url.host}{response.url.path} is {said}"


def _locked(request: httpx.Request) -> str:
    kind = request.headers.get("authorization", "").partition(" ")[0]
    sent = {"Basic": "PREFECT_API_AUTH_STRING", "Bearer": "PREFECT_API_KEY"}.get(kind)
    problem = f"it does not take the {sent} that is set" if sent else "no login is set for it"
    return (
        f"{problem}; a server of one's own wants PREFECT_API_AUTH_STRING as its PREFECT_SERVER_API_AUTH_STRING is, Prefect "
        "Cloud PREFECT_API_KEY, and a proxy before them may want PREFECT_CLIENT_CUSTOM_HEADERS"
    )


def _untrusted(error: ssl.SSLCertVerificationError) -> str:
    instead = UNTRUSTED.get(error.verify_code, "name the file of the CA that it is from in PREFECT_API_SSL_CERT_FILE")
    return f"its certificate is not trusted ({error.verify_message}): {instead}"


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error, what it was raised from or while, and so on."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
