"""What a dataset's location may be, and which files a deployment's parameters may name."""

from __future__ import annotations

import http.server
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fieval_tasks.core.errors import PlanError
from fieval_tasks.core.locations import SCHEMES, holds_a_secret, is_allowed, is_stream
from fieval_tasks.data.dataset import read_dataset

ROWS = "answer\nyes\n"
KERCHUNK = (
    '{"version": 1, "templates": {"u": "{{ lipsum.__globals__.os.system(c) }}"}, "refs": {"data.csv": ["{{u}}"]}}'
)


class Site(http.server.BaseHTTPRequestHandler):
    """Answers with rows, with a document of references, or with a way to somewhere else."""

    asked: list[str]
    leads_to = ""

    def do_GET(self) -> None:
        self.asked.append(self.path)
        if self.path.startswith("/moved"):
            self.send_response(302)
            self.send_header("Location", self.leads_to)
            self.end_headers()
            return
        body = (KERCHUNK if "refs" in self.path else ROWS).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    do_HEAD = do_GET  # noqa: N815  # the server's own spelling

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def site() -> Iterator[Any]:
    class Handler(Site):
        asked: list[str] = []  # noqa: RUF012  # a site's own

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Handler.address = f"http://127.0.0.1:{server.server_port}"  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield Handler
    server.shutdown()
    thread.join()
    server.server_close()


def problem(location: str) -> str:
    with pytest.raises(PlanError) as error:
        read_dataset(location)
    return str(error.value)


@pytest.mark.parametrize(
    "chain",
    [
        "reference://data.csv::{site}/refs.json",
        "reference://data.csv::http://[::1]/refs.json",
        "simplecache::{site}/a.csv",
        "zip://data.csv::{site}/a.zip",
        "filecache::file:///etc/hosts.csv",
        "http://127.0.0.1/a.csv::file:///etc/passwd",
    ],
)
def test_one_url_never_leads_to_another(site: Any, chain: str) -> None:
    assert problem(chain.format(site=site.address)).startswith("a dataset's URL can't hold '::'")
    assert site.asked == []


@pytest.mark.parametrize(
    ("location", "named"),
    [
        ("github://owner:repo@main/a.csv", "'github'"),
        ("memory://a.csv", "'memory'"),
        ("ftp://host/a.csv", "'ftp'"),
        ("zip://a.csv", "'zip'"),
        ("reference%3A%3Ahttp://host/a.csv", "what it begins with"),
        ("HTTP://127.0.0.1:9/a.csv", "'HTTP'"),
        ("FILE:///etc/a.csv", "'FILE'"),
        (" http://127.0.0.1:9/a.csv", "what it begins with"),
        ("data:text/csv,http://127.0.0.1/a.csv", "what it begins with"),
        ("me:s3cret@host/http://127.0.0.1/a.csv", "what it begins with"),
        ("local:///etc/a.csv", "'local'"),
        ("dir://etc/a.csv", "'dir'"),
    ],
)
def test_only_some_schemes_are_read_and_the_others_are_named(location: str, named: str) -> None:
    told = problem(location)
    assert f"{named} is no scheme that is read" in told
    assert all(scheme in told for scheme in SCHEMES)
    assert "s3cret" not in told


@pytest.mark.parametrize(
    "location",
    [
        "https://me:s3cret@127.0.0.1:9/a.csv",
        "https://me:s3cret@127.0.0.1",
        "https://me:s3cret@127.0.0.1.csv",
        "https://me:s3cret@ho\u2100st/a.csv",
        "https://[me:s3cret@host/a.csv",
        "https://me:s3cret@127.0.0.1:port/a.csv",
        "https://127.0.0.1:9/a.csv?sig=s3cret",
        "https://127.0.0.1:9/a.csv#s3cret",
        "https://127.0.0.1:9/a\n.csv?sig=s3cret",
        "file://me:s3cret@elsewhere/a.csv",
        "file:///nowhere/a.csv?s3cret",
    ],
)
def test_no_message_repeats_what_is_secret_in_a_url(location: str) -> None:
    assert "s3cret" not in problem(location)


def test_a_web_page_is_read_also_where_it_leads_to_another(site: Any) -> None:
    site.leads_to = f"{site.address}/elsewhere"
    for place in ("a.csv", "a%3A%3Ab.csv", "moved.csv"):
        with read_dataset(f"{site.address}/{place}") as dataset:
            assert dataset.size == 1


def test_a_web_page_that_leads_to_a_file_is_not_followed_there(site: Any, tmp_path: Path) -> None:
    file = tmp_path / "private.csv"
    file.write_text("answer\nprivate\n")
    site.leads_to = file.as_uri()
    assert problem(f"{site.address}/moved.csv").startswith("moved.csv can't be fetched from http")


def test_a_file_url_is_a_path_of_this_machine(tmp_path: Path) -> None:
    file = tmp_path / "my answers.csv"
    file.write_text(ROWS)
    with read_dataset(file.as_uri()) as dataset:
        assert (dataset.name, dataset.size) == ("my answers.csv", 1)
    assert "a path of this machine" in problem(f"file://elsewhere{file}")
    assert "does not exist" in problem((tmp_path / "nothing.csv").as_uri())


@pytest.mark.parametrize(
    "url",
    [
        "https://me:pw@host/a.csv",
        "https://a-token@host/a.csv",
        "s3://id:key@bucket/a.csv",
        *(
            f"https://host/a.csv?{name}=x"
            for name in ("sig", "X-Amz-Signature", "X-Amz-Security-Token", "AWSAccessKeyId")
        ),
        *(f"https://host/a.csv?{name}=x" for name in ("private_token", "client_secret", "api_key", "key", "auth")),
        *(f"https://host/a.csv?{name}=x" for name in ("accessToken", "clientSecret", "subscriptionKey", "jwt", "pass")),
        "https://host/a.csv#access_token=x",
    ],
)
def test_a_url_with_which_anybody_may_read_opens_doors(url: str) -> None:
    assert holds_a_secret(url)


@pytest.mark.parametrize(
    "url",
    [
        "https://host/a.csv?version=3&design=author",
        "abfs://container@account.dfs.core.windows.net/a.csv",
        "s3://bucket/me@here/a.csv?versionId=3",
    ],
)
def test_an_ordinary_url_does_not(url: str) -> None:
    assert not holds_a_secret(url)


def test_a_deployment_may_name_files_of_its_folders_wherever_links_lead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, data, other = (tmp_path / name for name in ("home", "data", "other"))
    for folder in (home, data, other):
        folder.mkdir()
    (home / "way-out").symlink_to(other)
    monkeypatch.chdir(home)
    monkeypatch.setenv("FIEVAL_FOLDERS", f"{data}{os.pathsep}")
    (home / "a.csv").write_text(ROWS)
    (home / "set").mkdir()
    (home / "set" / "link.csv").symlink_to(other / "a.csv")
    fine = ("a.csv", "*.csv", f"{data}/a.csv", f"{data}", (home / "a.csv").as_uri(), "-", "https://host/a.csv")
    assert [name for name in fine if not is_allowed(name)] == []
    shut = (
        "/etc/a.csv",
        "../other/a.csv",
        "way-out/a.csv",
        "~/a.csv",
        f"{tmp_path}/data-too/a.csv",
        "file:///etc/a.csv",
    )
    (other / "a.csv").write_text(ROWS)
    through_links = ("way-out", "way*/a.csv", "*/../other/*.csv", "set", "set/*.csv", "/etc/*.csv")
    assert [name for name in (*shut, *through_links) if is_allowed(name)] == []


def test_a_pipe_or_device_is_a_stream_and_a_file_is_none(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(ROWS)
    assert [name for name in ("-", "/dev/zero", "file:///dev/zero") if not is_stream(name)] == []
    assert [
        name for name in (str(tmp_path), f"{tmp_path}/a.csv", f"{tmp_path}/no.csv", "http://h/a") if is_stream(name)
    ] == []
