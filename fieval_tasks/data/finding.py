"""The files that a dataset's location names: paths, folders, patterns, URLs, pipes and standard input."""

from __future__ import annotations

import os
import re
import shutil
import stat
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from glob import glob, has_magic
from pathlib import Path, PurePosixPath
from typing import BinaryIO
from urllib.parse import SplitResult, unquote

from fieval_tasks.core.errors import PlanError, in_words
from fieval_tasks.core.locations import dataset_url, is_url, path_of
from fieval_tasks.core.spelling import listed, nearest
from fieval_tasks.data.files import File
from fieval_tasks.data.foreign import foreign_by_extension
from fieval_tasks.data.records import FORMATS

STDIN = "<stdin>"
"""The name of a dataset from standard input."""
SHOWN = 5
"""Files that a message names."""
# Hive, Spark and pyarrow write folders whose names give a column and its value to all rows in them.
_PARTITION = re.compile(r"([^=]+)=(.*)")
_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"
_BY_PATTERN = "a pattern, as '{}/**/*.csv', names the files of its folders too"
# Files that Hugging Face's `datasets` writes beside its data.
_OF_DATASETS = ("dataset_info.json", "dataset_infos.json")


@dataclass(frozen=True)
class Reading:
    """How the user wants a dataset's files to be read; None: recognised from the files."""

    format: str | None = None
    """One of the values of FORMATS, for every file, whatever its extension."""
    delimiter: str | None = None
    """The delimiter of CSV."""
    rows: str | None = None
    """The path of the rows in a document of JSON or YAML."""


AS_FOUND = Reading()


def _copied(stream: BinaryIO, copies: ExitStack) -> Path:
    """A copy on disk of a source that can't be read twice. Closing `copies` removes it."""
    handle, name = tempfile.mkstemp(prefix="fieval-", suffix=".spool")
    copies.callback(Path(name).unlink, missing_ok=True)
    with os.fdopen(handle, "wb") as copy:
        shutil.copyfileobj(stream, copy, 2**20)
    return Path(name)


def files_of(locations: Sequence[str], reading: Reading, copies: ExitStack) -> list[File]:
    """The files of all these locations. Raises PlanError where there is none, or a file is named twice."""
    files = [file for location in locations for file in _files(location, reading, copies)]
    counts = Counter(file.path.resolve() for file in files)
    twice = dict.fromkeys(file.name for file in files if counts[file.path.resolve()] > 1)
    if twice:  # its rows would count as often
        raise PlanError(*(f"{name} is named more than once: name each file once" for name in twice))
    return files


def _files(location: str, reading: Reading, copies: ExitStack) -> list[File]:
    if location == "-":
        return [_file(STDIN, _copied(sys.stdin.buffer, copies), reading, default="jsonl")]
    url = dataset_url(location) if is_url(location) else None
    if url is not None and url.scheme != "file":
        return [_remote_file(url, location, reading, copies)]
    path = Path(location).expanduser() if url is None else path_of(url)
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        if isinstance(error, FileNotFoundError) and (found := _matching(path)):
            fixed = next(folder for folder in path.parents if not has_magic(str(folder)))
            return _named_apart(found, reading, fixed)
        raise PlanError(_not_there(location, path, error)) from error
    if stat.S_ISDIR(mode):
        try:
            return _files_in(location.rstrip("/"), path, reading)
        except OSError as error:  # one of its folders may be closed
            raise PlanError(f"{location} can't be read: {error}") from error
    if stat.S_ISREG(mode):
        return [_file(path.name, path, reading)]
    with path.open("rb") as pipe:  # <(a command), /dev/stdin
        return [_file(location, _copied(pipe, copies), reading, default="jsonl")]


def _matching(path: Path) -> list[Path]:
    """The files that match a pattern, sorted by name; a file is there once, however many links lead to it."""
    found = {one.resolve(): one for one in sorted(map(Path, glob(str(path), recursive=True)), reverse=True)}
    return sorted(one for one in found.values() if one.is_file())


def _file(name: str, path: Path, reading: Reading, *, default: str | None = None) -> File:
    file_format = reading.format or _format(Path(name).name, default)
    options = (
        (reading.delimiter, ("csv", "tsv"), "--delimiter is for the cells of CSV"),
        (reading.rows, ("json", "yaml"), "--rows leads into a document of JSON or YAML"),
    )
    for given, formats, meaning in options:
        if given is not None and file_format not in formats:
            raise PlanError(f"{meaning}, and {name} is read as {file_format.upper()}; leave it out")
    return File(printable(name), path, file_format, delimiter=reading.delimiter, rows=reading.rows)


def printable(name: str) -> str:
    """The file's name with a mark for each byte that is no text: the ledger could not store those."""
    return name.encode(errors="backslashreplace").decode()


def _format(name: str, default: str | None = None) -> str:
    path = PurePosixPath(name.lower())
    file_format = FORMATS.get(_extension(path), default)
    if file_format is None:
        if (foreign := foreign_by_extension(path.suffix)) is not None:
            raise PlanError(f"{name} is {foreign.kind} by its extension: {foreign.step}")
        extension = f"the extension {path.suffix!r}" if path.suffix else "no extension"
        raise PlanError(
            f"{name} has {extension}; say what it is by --format, or write it as one of {', '.join(FORMATS)} "
            "(text also with .gz)"
        )
    return file_format


def _extension(path: PurePosixPath | Path) -> str:
    return PurePosixPath(path.stem).suffix if path.suffix == ".gz" else path.suffix


# -- folders -------------------------------------------------------------------------------------------------------


def _files_in(location: str, folder: Path, reading: Reading) -> list[File]:
    found = list(_found(folder, reading))
    if not found:
        deeper = any(path.is_dir() for path in _entries(folder))
        instead = _BY_PATTERN.format(location) if deeper else f"name a file of {', '.join(FORMATS)}"
        raise PlanError(
            f"{location} is a folder with no dataset in it; {instead}, or say by --format what its files are"
        )
    files = _named_apart(found, reading, folder)
    formats = sorted({file.format for file in files})
    if len(formats) > 1:
        raise PlanError(
            f"{location} is a folder with files of {' and '.join(formats)}{_datasets_in(folder)}: "
            f"name those that belong together, as {location}/*.{formats[0]}"
        )
    return files


def _found(folder: Path, reading: Reading) -> Iterator[Path]:
    """The datasets in a folder. If it holds none: those in its partitions (lang=fr/), or in its only subfolder, as Hugging
    Face has its data/."""
    here = [path for path in _entries(folder) if path.is_file() and (reading.format or _is_dataset(path))]
    deeper = [path for path in _entries(folder) if path.is_dir() and not path.is_symlink()]
    yield from here
    if not here and (len(deeper) == 1 or all(_PARTITION.fullmatch(path.name) for path in deeper)):
        for path in deeper:
            yield from _found(path, reading)


def _entries(folder: Path) -> list[Path]:
    """The folder's entries, sorted, without names that begin with a dot or an underscore, such as Spark's _SUCCESS."""
    return sorted(path for path in folder.iterdir() if path.name[0] not in "._")


def _is_dataset(path: Path) -> bool:
    """Whether the file's extension is that of a dataset. YAML in a folder is mostly settings, and is left out."""
    name = Path(path.name.lower())
    return FORMATS.get(_extension(name), "yaml") != "yaml" and name.name not in _OF_DATASETS


def _named_apart(paths: Sequence[Path], reading: Reading, folder: Path) -> list[File]:
    """The files, named with as many parent folders as make the names unique, with the columns that folders give."""
    top = Path(os.path.commonpath([path.parent for path in paths]))
    files = (_file(str(path.relative_to(top)), path, reading) for path in paths)
    return [replace(file, partition=_partition(file.path.relative_to(folder))) for file in files]


def _partition(path: Path) -> dict[str, str]:
    columns = [match for name in path.parent.parts if (match := _PARTITION.fullmatch(name))]
    return {match[1]: "" if match[2] == _NO_VALUE else unquote(match[2]) for match in columns}


def left_out(location: str, read: Sequence[File]) -> str | None:
    """A sentence that names datasets in a folder that are not read; None where all are."""
    folder = Path(location).expanduser()
    if is_url(location) or not folder.is_dir():
        return None
    unread = [*_unread(folder, [file.path for file in read])]
    if not unread:
        return None
    names = [f"{path.relative_to(folder)}{'/' * path.is_dir()}" for path in unread]
    pattern = f"; {_BY_PATTERN.format(location.rstrip('/'))}" if any(path.is_dir() for path in unread) else ""
    return printable(f"of {location} these are not read: {listed(names, SHOWN)}{pattern}")


def _unread(folder: Path, read: Sequence[Path]) -> Iterator[Path]:
    for path in _entries(folder):
        if path.is_dir() and any(one.is_relative_to(path) for one in read):
            yield from _unread(path, read)
        elif path not in read:
            yield path


# -- what is not there, or elsewhere -----------------------------------------------------------------------------------


def _not_there(location: str, path: Path, error: Exception) -> str:
    if not isinstance(error, FileNotFoundError):
        return f"{location!r} can't be opened: {error}"
    folder = path.parent
    if has_magic(location):
        return f"no file is called like {location}{_datasets_in(folder) if folder.is_dir() else ''}; check the pattern"
    if not folder.is_dir():
        return f"{location} does not exist, nor does its folder {folder}; check the path"
    near = nearest(path.name, [sibling.name for sibling in folder.iterdir() if sibling.is_file()])
    if near:
        return f"{location} does not exist; did you mean {' or '.join(str(folder / name) for name in near)}?"
    return f"{location} does not exist{_datasets_in(folder)}; check the path"


def _datasets_in(folder: Path) -> str:
    names = sorted(path.name for path in folder.iterdir() if _is_dataset(path))
    return f" ({folder} has: {listed(names, SHOWN)})" if names else ""


def _remote_file(url: SplitResult, location: str, reading: Reading, copies: ExitStack) -> File:
    name = PurePosixPath(unquote(url.path)).name or url.hostname or "it"
    file_format = reading.format or _format(name)  # before anything is fetched
    import fsspec  # type: ignore[import-untyped]  # it takes a while, and few datasets are remote

    try:
        with fsspec.open(location, "rb") as stream:
            return _file(name, _copied(stream, copies), replace(reading, format=file_format))
    except Exception as error:  # each file system behind fsspec raises its own
        problem = f"{name} can't be fetched from {url.scheme}"
        cause = error.__cause__ or error  # fsspec says that the file is not there, whatever the server answered
        if isinstance(error, ImportError) or {"?", "@", "#"}.isdisjoint(location):
            raise PlanError(f"{problem}: {in_words(cause)}") from error
        status = getattr(cause, "status", None)  # the error's words may repeat a signature or a password
        raise PlanError(f"{problem}: {f'HTTP {status}' if status else type(cause).__name__}") from None
