"""Where a dataset may lie: paths and URLs, and the folders that a deployment's parameters may name."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from glob import iglob
from pathlib import Path
from urllib.parse import SplitResult, parse_qsl, urlsplit
from urllib.request import url2pathname

from fieval_tasks.core.errors import PlanError
from fieval_tasks.core.scrubbing import names_a_secret

# fsspec knows forty schemes more. Some of them run commands that the file names, or lead on to any file of this machine;
# these only read the bytes at the place that they name.
SCHEMES = ("file", "http", "https", "s3", "gs", "gcs", "az", "abfs")
# Unset allows every folder: the worker's owner decides, and most keep their datasets in many places.
FOLDERS = "FIEVAL_FOLDERS"
"""The environment variable with the folders, separated as in PATH, in which a deployment's parameters may name files."""


def locations_in(dataset: str) -> list[str]:
    """The locations in a plan's `dataset`, one a line; mostly there is only one."""
    return [line for line in dataset.splitlines() if line.strip()] if "\n" in dataset else [dataset]


def is_url(location: str) -> bool:
    return "://" in location


def dataset_url(location: str) -> SplitResult:
    """The URL in its parts. Raises PlanError for a scheme that is not in SCHEMES; no message repeats a password."""
    scheme = location.partition("://")[0]
    if "::" in location:
        raise PlanError(f"a dataset's URL can't hold '::', which leads from one URL to another; {_MAY_BE}")
    if scheme not in SCHEMES:
        named = f"{scheme!r} is" if re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]{0,20}", scheme) else "what it begins with is"
        raise PlanError(f"a dataset can't be read by such a URL: {named} no scheme that is read; {_MAY_BE}")
    if not location.isprintable():
        raise PlanError(f"a dataset's URL holds a line break or another control character; {_MAY_BE}")
    try:
        return url_parts(location)
    except ValueError as error:
        raise PlanError(f"the dataset's URL can't be read: {error}") from None


_MAY_BE = f"give a path, or a URL of {', '.join(SCHEMES[:-1])} or {SCHEMES[-1]}"


def url_parts(url: str) -> SplitResult:
    """`urlsplit`. Raises ValueError whose message holds no part of the URL, which may be secret."""
    try:
        return urlsplit(url)
    except ValueError:
        raise ValueError("its brackets are not closed, or its host has letters that no host has") from None


def path_of(file_url: SplitResult) -> Path:
    """The path on this machine that a file: URL names. Raises PlanError for a URL with a host, query or fragment."""
    if file_url.netloc not in ("", "localhost") or file_url.query or file_url.fragment or not file_url.path:
        raise PlanError("a file: URL names a path of this machine, as file:///FOLDER/answers.csv, and nothing else")
    return Path(url2pathname(file_url.path))


def holds_a_secret(url: str) -> bool:
    """Whether the URL holds a password, a signature or the like. Raises ValueError where the URL can't be read."""
    parts = url_parts(url)
    names = (name for part in (parts.query, parts.fragment) for name, _ in parse_qsl(part))
    is_web = parts.scheme in ("http", "https")  # there a user name alone may be a token; abfs has CONTAINER@ACCOUNT
    return bool(parts.password or (is_web and "@" in parts.netloc)) or any(map(names_a_secret, names))


def is_stream(location: str) -> bool:
    """Whether the location is standard input, or a pipe or a device on this machine."""
    path = _path(location)
    return location == "-" or (path is not None and path.exists() and not path.is_file() and not path.is_dir())


def is_allowed(location: str) -> bool:
    """Whether a deployment may name the location: FIEVAL_FOLDERS is unset, or it is a URL, or it lies in one of those
    folders or in the working folder. Links are followed; of a folder or a pattern, every file must lie there."""
    path = _path(location)
    if path is None or FOLDERS not in os.environ:
        return True
    folders = [*_allowed_folders()]
    return all(any(file.resolve().is_relative_to(folder) for folder in folders) for file in _meant(path))


def _path(location: str) -> Path | None:
    """The path on this machine that the location names; None for a URL and for standard input."""
    if location == "-" or (is_url(location) and not location.startswith("file://")):
        return None
    return path_of(dataset_url(location)) if is_url(location) else Path(location).expanduser()


def _meant(path: Path) -> Iterator[Path]:
    yield path
    if path.is_dir():
        yield from path.rglob("*")  # a folder in it that is a link is not gone into, here or when it is read
    elif not path.exists():
        yield from map(Path, iglob(str(path), recursive=True))


def _allowed_folders() -> Iterator[Path]:
    yield Path.cwd().resolve()
    for folder in os.environ[FOLDERS].split(os.pathsep):
        if folder:
            yield Path(folder).expanduser().resolve()
