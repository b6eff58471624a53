"""What the client makes of servers that hang up, lie, redirect or keep silent, and what it never lets out."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import traceback
import zlib
from base64 import b64encode
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import httpx
import pytest

from fieval_tasks.api.client import Credentials, EvalClient
from fieval_tasks.api.reply_bodies import BOUNDS, Bounds
from fieval_tasks.core.errors import (
    ApiError,
    GatewayFault,
    KeysRefused,
    Lost,
    NoCredit,
    NotTheProtocol,
    PlanError,
    Refused,
    ServerFault,
    Throttled,
    TurnedAway,
    Unavailable,
    Unreachable,
)
from fieval_tasks.core.items import Failed, Pending
from fieval_tasks.on_prefect.prefect_server import free_port
from tests.contract.raw_server import (
    API_KEY,
    SECRET_KEY,
    Manner,
    RawServer,
    answers,
    hangs_up,
    is_silent,
    resets,
    says,
    says_and_hangs_up,
)

PENDING = b'{"status":true,"result":{"eval_status":"pending","result":"Evaluation is being processed."}}'
TAKEN = b'{"status":true,"result":[{"evaluations":[{"name":"t","output_type":"score","eval_id":"e-1"}]}]}'
WHOLE = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(TAKEN), TAKEN)
HTML = b"<html><body><h1>Welcome to nginx!</h1></body></html>"


async def submit(client: EvalClient) -> object:
    return await client.submit("t", {"text": "a"})


async def get_result(client: EvalClient) -> object:
    return await client.get_result("e-1")


async def templates(client: EvalClient) -> object:
    return await client.templates()


CALLS = (submit, get_result, templates)


async def failure(
    *manners: Manner,
    call: Callable[[EvalClient], Awaitable[object]] = submit,
    timeout: float = 20.0,
    bounds: Bounds = BOUNDS,
) -> ApiError:
    """The error of one call to a server of these manners."""
    async with RawServer(*manners) as server, server.client(timeout=timeout, bounds=bounds) as client:
        with pytest.raises(ApiError) as told:
            await call(client)
    return told.value


# -- no connection -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", CALLS)
async def test_a_refused_connection_is_unreachable_and_was_never_sent(
    call: Callable[[EvalClient], Awaitable[object]],
) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    async with EvalClient(Credentials(API_KEY, SECRET_KEY, base_url=url)) as client:
        with pytest.raises(Unreachable) as told:
            await call(client)
    assert (told.value.retryable, told.value.ambiguous) == (True, False)
    assert url in str(told.value)
    assert "is the server running" in str(told.value)


@pytest.mark.parametrize("greeting", [b"HTTP/1.1 400 The plain HTTP request was sent to HTTPS port\r\n\r\n", b""])
async def test_a_server_that_speaks_no_tls_is_unreachable(greeting: bytes) -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(greeting)
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
        url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with EvalClient(Credentials(API_KEY, SECRET_KEY, base_url=url)) as client:
            with pytest.raises(Unreachable):
                await submit(client)


async def test_a_status_is_understood_whatever_its_reason_is_written_in() -> None:
    manner = says_and_hangs_up(b"HTTP/1.1 500 \xe9chec\r\nContent-Length: 2\r\n\r\n{}")
    assert isinstance(await failure(manner, call=submit), ServerFault)


# -- sent, and no answer -------------------------------------------------------------------------------------------

LOST: dict[str, Manner] = {
    "hangs up before replying": hangs_up,
    "resets the connection": resets,
    "hangs up within the headers": says_and_hangs_up(b"HTTP/1.1 200 OK\r\nContent-Le"),
    "hangs up within the body": says_and_hangs_up(b'HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{"status":'),
    "hangs up within a chunk": says_and_hangs_up(b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n{"st'),
    "says 100 and hangs up": says_and_hangs_up(b"HTTP/1.1 100 Continue\r\n\r\n"),
    "speaks SSH": says_and_hangs_up(b"SSH-2.0-OpenSSH_9.6\r\n"),
    "sends random bytes": says_and_hangs_up(b"\x00\x01\xfe\xff" * 20 + b"\r\n\r\n"),
    "speaks HTTP/2": says_and_hangs_up(b"HTTP/2 200 OK\r\n\r\n"),
    "names an impossible length": says_and_hangs_up(b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n{}"),
    "names a chunk of no size": says_and_hangs_up(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}"),
    "sends endless headers": says_and_hangs_up(b"HTTP/1.1 200 OK\r\nX: " + b"a" * 200_000 + b"\r\n\r\n"),
}
lost = pytest.mark.parametrize("manner", [pytest.param(m, id=name) for name, m in LOST.items()])


@lost
@pytest.mark.parametrize("call", [submit, get_result])
async def test_a_request_that_went_out_and_got_no_reply_is_lost_never_unsent(
    manner: Manner, call: Callable[[EvalClient], Awaitable[object]]
) -> None:
    error = await failure(manner, call=call)
    assert type(error) is Lost
    assert (error.ambiguous, error.retryable) == (True, False)
    assert "\n" not in str(error)


async def test_a_server_that_never_answers_is_lost_at_the_timeout() -> None:
    error = await failure(is_silent, timeout=1.0)
    assert type(error) is Lost


async def test_a_post_is_never_repeated_on_a_connection_that_went_stale() -> None:
    async with RawServer(answers(200, TAKEN), hangs_up, answers(200, TAKEN)) as server, server.client() as client:
        assert await submit(client) == "e-1"
        with pytest.raises(Lost):
            await submit(client)
        assert len(server.received) == 2
        assert await submit(client) == "e-1"


async def test_a_connection_that_the_server_has_closed_meanwhile_carries_no_request() -> None:
    async with RawServer(says_and_hangs_up(WHOLE), answers(200, TAKEN)) as server, server.client() as client:
        assert await submit(client) == "e-1"
        while server.connections:
            await asyncio.sleep(0)
        await asyncio.sleep(0)  # in which its socket is closed
        assert await submit(client) == "e-1"


async def test_what_a_server_says_unasked_is_no_answer_to_the_next_request() -> None:
    talks = says(WHOLE + b"HTTP/1.1 500 So\r\n\r\n")
    async with RawServer(talks, answers(200, TAKEN)) as server, server.client() as client:
        for _ in range(2):
            assert await submit(client) == "e-1"


async def test_requests_one_after_another_share_a_connection() -> None:
    async with RawServer(answers(200, TAKEN)) as server, server.client() as client:
        for _ in range(3):
            await submit(client)
        assert server.connections == 1


async def test_a_get_is_repeated_by_the_engine_alone_which_counts_it() -> None:
    async with RawServer(answers(200, TAKEN), hangs_up, answers(200, TAKEN)) as server, server.client() as client:
        await submit(client)
        with pytest.raises(Lost):
            await get_result(client)
        assert len(server.received) == 2


# -- answers that are none -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("body", [HTML, b"", TAKEN[:-20], b"\xff\xfe\x00", b"[" * 100_000, b"null", b"[]", b'"ok"'])
async def test_a_200_that_is_not_the_apis_json_is_not_the_protocol(
    body: bytes, call: Callable[[EvalClient], Awaitable[object]]
) -> None:
    error = await failure(answers(200, body), call=call)
    assert type(error) is NotTheProtocol
    assert error.ambiguous


async def test_json_cut_short_by_a_closed_connection_is_not_the_protocol() -> None:
    error = await failure(says_and_hangs_up(b"HTTP/1.0 200 OK\r\n\r\n" + TAKEN[:40]))
    assert type(error) is NotTheProtocol


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("call", CALLS)
async def test_a_redirect_names_the_base_url_and_the_keys_stay_here(
    status: int, call: Callable[[EvalClient], Awaitable[object]]
) -> None:
    async with RawServer(answers(200, TAKEN)) as elsewhere:
        manner = answers(status, location=f"{elsewhere.url}/sdk/api/v1/new-eval/")
        async with RawServer(manner) as server, server.client() as client:
            with pytest.raises(ApiError) as told:
                await call(client)
        error = told.value
        assert elsewhere.received == []
        assert len(server.received) == 1
    assert type(error) is TurnedAway
    assert not error.ambiguous
    assert error.status == status
    assert "check the base URL" in str(error)
    assert elsewhere.url in str(error)


@pytest.mark.parametrize(
    ("location", "place"),
    [
        ("https://login.test/in?next=/&token=hunter2#hunter2", "'https://login.test'"),
        ("http://somebody:hunter2@login.test:8443/hunter2", "'http://login.test:8443'"),
        ("//login.test/hunter2", "'login.test'"),
        ("/sdk/api/v1/new-eval/?token=hunter2", "another path of its own"),
        ("javascript:hunter2", "no address"),
        ("", "no address"),
        ("http://[hunter2", "an address that can't be read"),
        ("http://" + "a" * 5_000 + "/", "'http://aaa"),
        ("http://\x1bc\u202e.test/", "'http://"),
    ],
)
async def test_of_where_a_redirect_leads_only_the_host_is_told_in_print(location: str, place: str) -> None:
    error = await failure(answers(302, location=location))
    assert f"the server redirects to {place}" in str(error)
    assert "hunter2" not in str(error)
    assert len(str(error)) < 200
    assert str(error).isprintable()


@pytest.mark.parametrize("status", [404, 405])
async def test_a_page_not_found_names_the_base_url(status: int) -> None:
    error = await failure(answers(status, HTML))
    assert type(error) is TurnedAway
    assert "check the base URL" in str(error)
    assert str(error).startswith("http://127.0.0.1:")


TOLD: dict[str, tuple[Manner, type[ApiError], bool, bool]] = {
    # kind of the error, whether the request may have been taken, and whether it may be sent again as it is
    **{
        f"a firewall's {status}": (answers(status, HTML), TurnedAway, False, False)
        for status in (400, 401, 402, 403, 413)
    },
    **{f"a gateway's {status}": (answers(status, HTML), GatewayFault, True, False) for status in (502, 504)},
    "503 for a time": (answers(503, HTML, retry_after="7"), Throttled, False, True),
    "503": (answers(503, HTML), Unavailable, False, False),
    "429": (answers(429, b'{"result":{"code":"RATE_LIMITED","message":"slow down"}}'), Throttled, False, True),
    "402": (answers(402, b'{"detail":"Out of credits"}'), NoCredit, False, False),
}


@pytest.mark.parametrize(("manner", "kind", "ambiguous", "retryable"), TOLD.values(), ids=TOLD)
async def test_an_answer_that_is_no_success_tells_whether_the_request_was_taken(
    manner: Manner, kind: type[ApiError], ambiguous: bool, retryable: bool
) -> None:
    error = await failure(manner)
    assert (type(error), error.ambiguous, error.retryable) == (kind, ambiguous, retryable)


@pytest.mark.parametrize("status", [301, 403, 413])
async def test_a_refusal_whose_body_never_comes_is_one_all_the_same(status: int) -> None:
    """As of a server that closes the line on what is too long for it."""
    head = b"HTTP/1.1 %d So\r\nContent-Length: 1000\r\n\r\n<html>" % status
    error = await failure(says_and_hangs_up(head))
    assert type(error) is TurnedAway


@pytest.mark.parametrize("status", [401, 403])
async def test_refused_keys_name_the_server_and_the_variables(status: int) -> None:
    error = await failure(answers(status, b'{"detail":"Invalid API key or secret key"}'))
    assert type(error) is KeysRefused
    assert str(error).endswith("refused the keys (Invalid API key or secret key): check FI_API_KEY and FI_SECRET_KEY")
    assert str(error) == error.message


# -- encodings -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("encoding", "body"), [("gzip", gzip.compress(PENDING)), ("deflate", zlib.compress(PENDING)), ("identity", PENDING)]
)
async def test_a_compressed_answer_is_read(encoding: str, body: bytes) -> None:
    async with RawServer(answers(200, body, content_encoding=encoding)) as server, server.client() as client:
        assert await get_result(client) == Pending()


async def test_a_compressed_refusal_is_read() -> None:
    body = gzip.compress(b'{"errors":{"inputs":["Missing required keys: a"]}}')
    error = await failure(answers(400, body, content_encoding="gzip"))
    assert isinstance(error, Refused)
    assert str(error) == "inputs: Missing required keys: a"


async def test_a_body_of_another_encoding_than_it_says_is_not_the_protocol() -> None:
    error = await failure(answers(200, TAKEN, content_encoding="gzip"))
    assert type(error) is NotTheProtocol
    assert "can't be decoded" in str(error)


@pytest.mark.parametrize(("status", "kind"), [(400, TurnedAway), (500, ServerFault), (502, GatewayFault)])
async def test_what_failed_is_told_by_its_status_where_its_body_can_not_be_decoded(
    status: int, kind: type[ApiError]
) -> None:
    assert type(await failure(answers(status, TAKEN, content_encoding="gzip"))) is kind


async def test_a_chunked_answer_is_read() -> None:
    chunked = b"%x\r\n%s\r\n%x\r\n%s\r\n0\r\n\r\n" % (9, PENDING[:9], len(PENDING) - 9, PENDING[9:])
    reply = says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked)
    async with RawServer(reply) as server, server.client() as client:
        assert await get_result(client) == Pending()


# -- the request, as the server sees it ----------------------------------------------------------------------------


async def test_a_post_has_its_length_and_its_type_and_comes_whole() -> None:
    async with RawServer(answers(200, TAKEN)) as server, server.client() as client:
        await client.submit("t", {"text": "naïve 👩‍🚀"}, model="turing_flash", params={"k": 1})
    [request] = server.received
    assert request.line == "POST /sdk/api/v1/new-eval/ HTTP/1.1"
    assert request.header("content-length") == str(len(request.body))
    assert request.header("transfer-encoding") is None
    assert request.header("content-type") == "application/json"
    assert json.loads(request.body) == {
        "eval_name": "t", "inputs": {"text": "naïve 👩‍🚀"}, "is_async": True, "model": "turing_flash",
        "config": {"params": {"k": 1}},
    }  # fmt: skip


async def test_five_megabytes_have_a_length_too() -> None:
    async with RawServer(answers(200, TAKEN)) as server, server.client() as client:
        await client.submit("t", {"text": "x" * 5 * 2**20})
    [request] = server.received
    assert request.header("content-length") == str(len(request.body))
    assert request.header("transfer-encoding") is None
    assert len(request.body) > 5 * 2**20


@pytest.mark.parametrize(
    ("call", "line"),
    [
        (get_result, "GET /sdk/api/v1/new-eval/?eval_id=e-1 HTTP/1.1"),
        (templates, "GET /sdk/api/v1/get-evals/ HTTP/1.1"),
    ],
)
async def test_a_get_has_no_body_and_keeps_its_slash(
    call: Callable[[EvalClient], Awaitable[object]], line: str
) -> None:
    async with RawServer(answers(400, b'{"detail": "no"}')) as server, server.client() as client:
        with pytest.raises(Refused):
            await call(client)
    [request] = server.received
    assert (request.line, request.body) == (line, b"")
    for name in ("content-length", "content-type", "transfer-encoding"):
        assert request.header(name) is None


async def test_a_proxy_of_the_environment_is_used_with_the_name_and_password_it_asks_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with RawServer(answers(200, PENDING)) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url.replace("://", "://who:knows@"))
        async with EvalClient(Credentials(API_KEY, SECRET_KEY, base_url="http://platform.test/v")) as client:
            assert await get_result(client) == Pending()
    [request] = proxy.received
    assert request.line == "GET http://platform.test/v/sdk/api/v1/new-eval/?eval_id=e-1 HTTP/1.1"
    assert request.header("proxy-authorization") == "Basic " + b64encode(b"who:knows").decode()


@pytest.mark.parametrize("named", ["somewhere:3128", "socks5://somewhere", "http://["])
def test_a_proxy_that_can_not_be_read_is_told_before_anything_is_sent(
    named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", named)
    with pytest.raises(PlanError, match="http_proxy names no HTTP proxy"):
        EvalClient(Credentials(API_KEY, SECRET_KEY, base_url="http://platform.test"))


def test_a_proxy_for_all_addresses_counts_where_none_is_named_for_these(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("all_proxy", "socks5://somewhere")
    with pytest.raises(PlanError, match="all_proxy names no HTTP proxy"):
        EvalClient(Credentials(API_KEY, SECRET_KEY, base_url="http://platform.test"))
    monkeypatch.setenv("http_proxy", "http://somewhere:3128")
    EvalClient(Credentials(API_KEY, SECRET_KEY, base_url="http://platform.test"))
    monkeypatch.delenv("http_proxy")
    monkeypatch.setenv("no_proxy", "platform.test")
    EvalClient(Credentials(API_KEY, SECRET_KEY, base_url="http://platform.test"))


@pytest.mark.parametrize("path", ["", "/", "/behind/a/proxy", "/behind/a/proxy/"])
async def test_a_base_url_may_end_in_a_slash_or_have_a_path(path: str) -> None:
    async with RawServer(answers(200, PENDING)) as server, server.client(path=path) as client:
        await get_result(client)
    assert server.received[0].line.startswith(f"GET {path.rstrip('/')}/sdk/api/v1/new-eval/?")


async def test_an_eval_id_can_not_change_the_address() -> None:
    async with RawServer(answers(200, PENDING)) as server, server.client() as client:
        await client.get_result("a b&x=1#/../é")
    path, _, query = server.received[0].line.split()[1].partition("?")
    assert path == "/sdk/api/v1/new-eval/"
    assert dict(httpx.QueryParams(query)) == {"eval_id": "a b&x=1#/../é"}


@pytest.mark.parametrize("call", CALLS)
async def test_the_keys_go_in_their_own_headers_and_netrc_is_left_alone(
    call: Callable[[EvalClient], Awaitable[object]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password something\ndefault login a password b\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HOME", str(tmp_path))
    async with RawServer(answers(400, b'{"detail": "no"}')) as server, server.client() as client:
        with pytest.raises(Refused):
            await call(client)
    [request] = server.received
    names = [name for name, _ in request.headers]
    assert len(names) == len(set(names))
    assert (request.header("x-api-key"), request.header("x-secret-key")) == (API_KEY, SECRET_KEY)
    assert request.header("accept") == "application/json"
    for absent in ("authorization", "cookie", "x-workspace-id", "x-organization-id"):
        assert request.header(absent) is None


async def test_workspace_and_organization_are_sent_when_set() -> None:
    async with RawServer(answers(200, PENDING)) as server:
        credentials = Credentials(API_KEY, SECRET_KEY, server.url, workspace_id="w-1", organization_id="o-1")
        async with EvalClient(credentials) as client:
            await get_result(client)
    [request] = server.received
    assert (request.header("x-workspace-id"), request.header("x-organization-id")) == ("w-1", "o-1")


# -- what never gets out -------------------------------------------------------------------------------------------

ANSWERS = [(status, HTML) for status in (200, 301, 400, 401, 402, 403, 404, 429, 500, 502, 503)]
ANSWERS += [(200, b'{"result": []}'), (400, b'{"detail": "no"}'), (500, b"")]
FAULTS = LOST | {f"answers {status} {body[:9]!r}": answers(status, body) for status, body in ANSWERS}


@pytest.mark.parametrize("manner", [pytest.param(m, id=name) for name, m in FAULTS.items()])
async def test_no_error_traceback_or_log_shows_a_key(manner: Manner, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with RawServer(manner) as server, server.client() as client:
        for call in CALLS:
            with pytest.raises(ApiError) as told:
                await call(client)
            shown = "".join(traceback.format_exception(told.value))
            assert_secret(str(told.value), repr(told.value), shown, caplog.text, *map(str, vars(told.value).values()))


async def test_an_unreachable_server_is_not_told_the_keys_either(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    url = f"http://127.0.0.1:{free_port()}"
    async with EvalClient(Credentials(API_KEY, SECRET_KEY, base_url=url)) as client:
        with pytest.raises(Unreachable) as told:
            await submit(client)
    assert_secret(str(told.value), repr(told.value), "".join(traceback.format_exception(told.value)), caplog.text)


async def test_a_successful_call_logs_no_key(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with RawServer(answers(200, TAKEN)) as server, server.client() as client:
        await submit(client)
        assert_secret(caplog.text, repr(client), str(client))


async def says_back(writer: asyncio.StreamWriter, *, status: bytes, keys_in: str) -> None:
    """As a debugging page or a proxy's trace does: what came with the request comes with the answer."""
    keys = f"X-Api-Key: {API_KEY} X-Secret-Key: {SECRET_KEY}"
    told = json.dumps({"detail": keys, "errors": {keys: [keys]}} if keys_in == "body" else {"detail": "no"}).encode()
    head = f"x-request-id: {keys}\r\nlocation: http://{API_KEY}/\r\n" if keys_in == "headers" else ""
    lines = f"{keys}\r\n\x00" if keys_in == "lines that are no headers" else ""
    reply = b"HTTP/1.1 %s So\r\nContent-Length: %d\r\n%s\r\n" % (status, len(told), (lines + head).encode())
    await says_and_hangs_up(reply + told)(writer)


@pytest.mark.parametrize("status", [b"200", b"302", b"400", b"401", b"429", b"500"])
@pytest.mark.parametrize("keys_in", ["body", "headers", "lines that are no headers"])
async def test_keys_that_the_server_says_back_are_not_passed_on(
    status: bytes, keys_in: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    error = await failure(partial(says_back, status=status, keys_in=keys_in))
    shown = "".join(traceback.format_exception(error))
    assert_secret(str(error), repr(error), shown, caplog.text, *map(str, vars(error).values()))


async def test_keys_that_a_verdict_says_back_are_not_passed_on() -> None:
    row = {"eval_id": "e-1", "value": None, "error_message": f"bad header {SECRET_KEY}"}
    body = json.dumps({"status": True, "result": {"eval_status": "failed", "result": row}}).encode()
    async with RawServer(answers(200, body)) as server, server.client() as client:
        assert await get_result(client) == Failed("evaluate", "evaluation_error", "bad header [secret]")


def test_credentials_do_not_show_their_keys() -> None:
    credentials = Credentials(API_KEY, SECRET_KEY, workspace_id="w-1")
    assert_secret(repr(credentials), str(credentials), f"{credentials!r:>200}")
    assert "w-1" in repr(credentials)


def assert_secret(*texts: str) -> None:
    for text in texts:
        assert API_KEY not in text
        assert SECRET_KEY not in text


async def test_a_key_that_is_a_common_word_is_left_in_sentences() -> None:
    async with EvalClient(Credentials("local", "test", base_url=f"http://127.0.0.1:{free_port()}")):
        assert str(PlanError("--connection local is for a test")) == "--connection local is for a test"
