"""A dataset: found by its location, scanned once, then read as often as it is asked for."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
import sys
import tempfile
import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from functools import partial
from glob import glob, has_magic
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import BinaryIO
from urllib.parse import SplitResult, unquote

from fieval_tasks.core.errors import NoRows, PlanError, in_words
from fieval_tasks.core.foreign import foreign_by_extension
from fieval_tasks.core.locations import dataset_url, each, is_url, path_of
from fieval_tasks.core.templates import nearest
from fieval_tasks.data.delimited import ESCAPES, style_of
from fieval_tasks.data.files import File, Row
from fieval_tasks.data.records import FORMATS, read_rows
from fieval_tasks.data.values import text_of

__all__ = ["STDIN", "Dataset", "Reading", "Row", "read_dataset"]

STDIN = "<stdin>"
"""The name of a dataset that came by standard input."""
_BLOCK = 2**20
_SHOWN = 5
"""Files that a message names."""
_C1 = re.compile("[\x80-\x84\x86-\x9f]")
"""Control characters that no text has (U+0085 apart, a line end on some machines)."""


@dataclass(frozen=True)
class Scan:
    """What one look at every row tells."""

    columns: tuple[str, ...]
    """In the order they were first seen."""
    size: int
    """Rows, with those that can't be used."""
    notices: tuple[str, ...] = ()
    """How the file was read, where that is not plain from its name, and what looks odd in it."""


@dataclass(frozen=True)
class Reading:
    """What the user says of how a dataset's files are to be read; None: what the files tell."""

    format: str | None = None
    """One of the values of FORMATS, whatever the files are called."""
    delimiter: str | None = None
    """What parts the cells of CSV."""
    rows: str | None = None
    """Where the rows are in a document of JSON or YAML."""


AS_IT_IS = Reading()


class Dataset:
    """Rows that can be read more than once. Closing it removes what was spooled for it."""

    def __init__(
        self,
        name: str,
        scan: Scan,
        fingerprint: str,
        read: Callable[[], Iterator[Row]],
        release: Callable[[], None] = lambda: None,
    ):
        self.name = name
        """The file's base name, or <stdin>; of several files what they were called together."""
        self.columns = scan.columns
        self.size = scan.size
        self.notices = scan.notices
        self.fingerprint = fingerprint
        """SHA-256 of the file's bytes, as they are on disk; of several, of their names and their SHA-256."""
        self.rows = read
        """Streams every row. Raises PlanError when a file is no longer the one that was scanned."""
        self.close = weakref.finalize(self, release)

    def __enter__(self) -> Dataset:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read_dataset(
    location: str, reading: Reading = AS_IT_IS, *, stdin: BinaryIO | None = None, spool: Path | None = None
) -> Dataset:
    """The dataset at a path, a URL (`locations.SCHEMES`), or `-`: standard input, as JSONL.

    A folder, a pattern such as `part-*.csv`, or several of all these, one a line, are one dataset. One scan counts the
    rows and learns the columns. What can't be read twice (standard input, pipes, URLs) is first copied to a file in the
    folder `spool` (None: the system's). Raises PlanError when there is nothing to evaluate.
    """
    with ExitStack() as copies:
        named = each(location)
        files = [file for one in named for file in _files(one, reading, stdin, spool, copies)]
        _refuse_twice(files)
        name = files[0].name if len(files) == 1 else _name_of_all(named, files)
        read = partial(_unchanged_rows, files, [_stamp(file.path) for file in files])
        left_out = [told for one in named for told in _left_out(one, [file.path for file in files])]
        scan = _scan(name, files)
        scan = replace(scan, notices=(*scan.notices, *left_out))
        return Dataset(_printable(name), scan, _fingerprint(files), read, copies.pop_all().close)


def _name_of_all(named: Sequence[str], files: Sequence[File]) -> str:
    return Path(named[0]).name if len(named) == 1 else f"{files[0].name} and {len(files) - 1} more"


def _files(
    location: str, reading: Reading, stdin: BinaryIO | None, spool: Path | None, copies: ExitStack
) -> list[File]:
    if location == "-":
        return [_file(STDIN, _copy(stdin or sys.stdin.buffer, spool, copies), reading, default="jsonl")]
    url = dataset_url(location) if is_url(location) else None
    if url is not None and url.scheme != "file":
        return [_remote_file(url, location, reading, spool, copies)]
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
            return _files_in(location, path, reading)
        except OSError as error:  # one of its folders may be closed
            raise PlanError(f"{location} can't be read: {error}") from error
    if stat.S_ISREG(mode):
        return [_file(path.name, path, reading)]
    with path.open("rb") as pipe:  # <(a command), /dev/stdin
        return [_file(location, _copy(pipe, spool, copies), reading, default="jsonl")]


def _matching(path: Path) -> list[Path]:
    """The files that a pattern means, in the order of their names; each once, however many links lead to it."""
    found = {one.resolve(): one for one in sorted(map(Path, glob(str(path), recursive=True)), reverse=True)}
    return sorted(one for one in found.values() if one.is_file())


def _refuse_twice(files: Sequence[File]) -> None:
    """Raises PlanError where one file is named more than once: its rows would count as often."""
    counts = Counter(file.path.resolve() for file in files)
    twice = dict.fromkeys(file.name for file in files if counts[file.path.resolve()] > 1)
    if twice:
        raise PlanError(*(f"{name} is named more than once: name each file once" for name in twice))


def _files_in(location: str, folder: Path, reading: Reading) -> list[File]:
    """The datasets in a folder. What begins with a dot or an underscore is some program's own, as Spark's _SUCCESS."""
    found = list(_found(folder, reading))
    if not found:
        deeper = [path for path in _shown(folder) if path.is_dir()]
        instead = _BY_PATTERN.format(location.rstrip("/")) if deeper else f"name a file of {', '.join(FORMATS)}"
        raise PlanError(
            f"{location} is a folder with no dataset in it; {instead}, or say by --format what its files are"
        )
    files = _named_apart(found, reading, folder)
    formats = sorted({file.format for file in files})
    if len(formats) > 1:
        raise PlanError(
            f"{location} is a folder with files of {' and '.join(formats)}{_datasets_in(folder)}: "
            f"name those that belong together, as {location.rstrip('/')}/*.{formats[0]}"
        )
    return files


def _found(folder: Path, reading: Reading) -> Iterator[Path]:
    """The datasets in a folder; where it has none itself, those of its partitions (lang=fr/), or of its only folder, as
    Hugging Face has them in data/."""
    here = [path for path in _shown(folder) if path.is_file() and (reading.format or _known(path))]
    deeper = [path for path in _shown(folder) if path.is_dir() and not path.is_symlink()]
    are_partitions = all(_PARTITION.fullmatch(path.name) for path in deeper)
    yield from here
    if not here and (are_partitions or len(deeper) == 1):
        for path in deeper:
            yield from _found(path, reading)


_PARTITION = re.compile(r"([^=]+)=(.*)")
"""A folder's name that tells a column and its value for all rows below, as Hive, Spark and pyarrow write it."""
_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"


def _named_apart(paths: Sequence[Path], reading: Reading, folder: Path) -> list[File]:
    """Files by their names, with the folders that tell them apart, and the columns that folders below `folder` tell."""
    top = Path(os.path.commonpath([path.parent for path in paths]))
    files = (_file(str(path.relative_to(top)), path, reading) for path in paths)
    return [replace(file, partition=_partition(file.path.relative_to(folder))) for file in files]


def _partition(path: Path) -> dict[str, str]:
    told = [match for name in path.parent.parts if (match := _PARTITION.fullmatch(name))]
    return {match[1]: "" if match[2] == _NO_VALUE else unquote(match[2]) for match in told}


_BY_PATTERN = "a pattern, as '{}/**/*.csv', names the files of its folders too"


def _shown(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.name[0] not in "._")


def _left_out(location: str, read: Sequence[Path]) -> Iterator[str]:
    """What a folder holds beside the files that are read."""
    path = Path(location).expanduser()
    if is_url(location) or not path.is_dir():
        return
    left = [f"{one.relative_to(path)}{'/' * one.is_dir()}" for one in _unread(path, read)]
    if left:
        more = f" and {len(left) - _SHOWN} more" if len(left) > _SHOWN else ""
        pattern = f"; {_BY_PATTERN.format(location.rstrip('/'))}" if any(name.endswith("/") for name in left) else ""
        yield _printable(f"of {location} these are not read: {', '.join(left[:_SHOWN])}{more}{pattern}")


def _unread(folder: Path, read: Sequence[Path]) -> Iterator[Path]:
    for path in _shown(folder):
        if path.is_dir() and any(one.is_relative_to(path) for one in read):
            yield from _unread(path, read)
        elif path not in read:
            yield path


def _known(path: Path) -> bool:
    """Of a folder's files: YAML is mostly settings there, and what `datasets` writes beside its own is no dataset."""
    name = Path(path.name.lower())
    file_format = FORMATS.get(name.suffix if name.suffix != ".gz" else Path(name.stem).suffix)
    return file_format not in (None, "yaml") and name.name not in ("dataset_info.json", "dataset_infos.json")


def _file(name: str, path: Path, reading: Reading, *, default: str | None = None) -> File:
    file_format = reading.format or _format(Path(name).name, default)
    if reading.delimiter is not None and file_format not in ("csv", "tsv"):
        raise PlanError(
            f"--delimiter parts the cells of CSV, and {name} is read as {file_format.upper()}; leave it out"
        )
    if reading.rows is not None and file_format not in ("json", "yaml"):
        raise PlanError(
            f"--rows leads into a document of JSON or YAML, and {name} is read as {file_format.upper()}; leave it out"
        )
    return File(_printable(name), path, file_format, delimiter=reading.delimiter, rows=reading.rows)


def _printable(name: str) -> str:
    """A file's name may hold bytes that are no text, which could not be kept."""
    return name.encode(errors="backslashreplace").decode()


def _remote_file(url: SplitResult, location: str, reading: Reading, spool: Path | None, copies: ExitStack) -> File:
    name = PurePosixPath(unquote(url.path)).name or url.hostname or "it"
    file_format = reading.format or _format(name)  # before anything is fetched
    import fsspec  # type: ignore[import-untyped]

    try:
        with fsspec.open(location, "rb") as stream:
            return _file(name, _copy(stream, spool, copies), replace(reading, format=file_format))
    except Exception as error:  # each file system behind fsspec raises its own
        told = f"{name} can't be fetched from {url.scheme}"
        may_tell = isinstance(error, ImportError) or not {"?", "@", "#"} & {*location}
        cause = error.__cause__ or error  # which fsspec tells as a file that is not there, whatever the server answered
        if not may_tell:  # the error may repeat a signature or a password
            status = getattr(cause, "status", None)
            raise PlanError(f"{told}: {f'HTTP {status}' if status else type(cause).__name__}") from None
        raise PlanError(f"{told}: {in_words(cause)}") from error


def _copy(stream: BinaryIO, folder: Path | None, copies: ExitStack) -> Path:
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix="fieval-", suffix=".spool", dir=folder)
    path = Path(name)
    copies.callback(path.unlink, missing_ok=True)
    with os.fdopen(handle, "wb") as copy:
        shutil.copyfileobj(stream, copy, _BLOCK)
    return path


def _format(name: str, default: str | None = None) -> str:
    path = PurePosixPath(name.lower())
    suffix = PurePosixPath(path.stem).suffix if path.suffix == ".gz" else path.suffix
    file_format = FORMATS.get(suffix, default)
    if file_format is None:
        if (foreign := foreign_by_extension(path.suffix)) is not None:
            raise PlanError(f"{name} is {foreign.kind} by its extension: {foreign.step}")
        extension = f"the extension {path.suffix!r}" if path.suffix else "no extension"
        raise PlanError(
            f"{name} has {extension}; say what it is by --format, or write it as one of {', '.join(FORMATS)} "
            "(text also with .gz)"
        )
    return file_format


def _not_there(location: str, path: Path, error: Exception) -> str:
    if not isinstance(error, FileNotFoundError):
        return f"{location!r} can't be opened: {error}"
    folder = path.parent
    if has_magic(location):
        return f"no file is called like {location}{_datasets_in(folder) if folder.is_dir() else ''}; check the pattern"
    if not folder.is_dir():
        return f"{location} does not exist, nor does its folder {folder}; check the path"
    siblings = [p.name for p in folder.iterdir() if p.is_file()]
    near = nearest(path.name, siblings)
    if near:
        return f"{location} does not exist; did you mean {' or '.join(str(folder / name) for name in near)}?"
    return f"{location} does not exist{_datasets_in(folder)}; check the path"


def _datasets_in(folder: Path, most: int = 5) -> str:
    names = sorted(path.name for path in folder.iterdir() if _known(path))
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f" ({folder} has: {', '.join(names[:most])}{more})" if names else ""


def _unchanged_rows(files: Sequence[File], stamps: Sequence[tuple[int, int]]) -> Iterator[Row]:
    for file, stamp in zip(files, stamps, strict=True):
        if not file.path.exists() or _stamp(file.path) != stamp:
            raise PlanError(f"{file.name} changed or went away while it was in use; start again with the file at rest")
    return _rows(files)


def _rows(files: Sequence[File]) -> Iterator[Row]:
    """Every row of every file, numbered on; of several files each row knows its own, and one may be without rows."""
    if len(files) == 1:
        yield from _file_rows(files[0])
        return
    before = 0
    for file in files:
        number = before
        with suppress(NoRows):
            for row in _file_rows(file):
                number = before + row.number
                problem = None if row.problem is None else f"{file.name}: {row.problem}"
                yield replace(row, number=number, problem=problem, file=file.name)
        before = number


def _file_rows(file: File) -> Iterator[Row]:
    """With what its folders tell of them."""
    for row in read_rows(file):
        yield _in_its_folders(row, file.partition) if file.partition else row


def _in_its_folders(row: Row, partition: Mapping[str, str]) -> Row:
    """With the columns that its folders tell, which none of its own may contradict."""
    for name, told in partition.items():
        if row.problem is None and name in row.values and not _is_same(row.values[name], told):
            own = f"{row.values[name]!r:.60}"
            problem = f"its {name!r} is {own}, and its folder is {name}={told}: which one is meant can't be told"
            return replace(row, problem=problem)
    return replace(row, values={**partition, **row.values})


def _is_same(value: object, told: str) -> bool:
    """A folder's name has no types: month=01 is the number 1, and no value is the default partition's."""
    text = text_of(value)
    if not isinstance(text, str):
        return not told and text.kind == "blank"
    return text == told or (text.isdigit() and text.lstrip("0") == told.lstrip("0"))


def _scan(name: str, files: Sequence[File]) -> Scan:
    columns: dict[str, None] = {}
    size = 0
    first_problem = None
    odd: dict[str, str] = {}
    """Of each kind of oddity, the first."""
    places: dict[str, str] = {}
    sizes = Counter({file.name: 0 for file in files})
    for row in _rows(files):
        size += 1
        sizes[row.file or name] += 1
        if row.problem is not None:
            first_problem = first_problem or row.problem
            if ESCAPES in row.problem:
                odd.setdefault(
                    ESCAPES, f"{row.problem}; other backslashes may be escapes, too: they are sent as they are"
                )
            continue
        if not row.values.keys() <= columns.keys():
            columns |= dict.fromkeys(row.values)
            odd = {**dict(_odd_names(row.values)), **odd}
        for kind, told in _odd(row):
            odd.setdefault(kind, told)
        if row.place is not None:
            places[row.file or name] = row.place
    if not size:
        raise PlanError(f"{name} is empty: it holds no rows")
    if not columns:
        raise PlanError(_no_good_row(name, files[0].format, size, first_problem))
    found = (
        f"{file}: its rows are the list {place!r} (another would be --rows PATH)" for file, place in places.items()
    )
    notices = (_of_files(sizes), *dict.fromkeys(map(_style, files)), *found, *odd.values())
    return Scan(tuple(columns), size, tuple(filter(None, notices)))


def _of_files(sizes: Mapping[str, int]) -> str | None:
    """Which rows are which file's, where there are several."""
    if len(sizes) < 2:
        return None
    told = [f"{name} ({size:,})" for name, size in sizes.items()]
    shown = ", ".join(told[:_SHOWN]) + (f" and {len(told) - _SHOWN} more" if len(told) > _SHOWN else "")
    return f"{len(sizes)} files are read as one, in this order, with so many rows each: {shown}"


def _style(file: File) -> str | None:
    if file.format not in ("csv", "tsv"):
        return None
    style = style_of(file)
    return None if style.is_usual(file.format) else f"{file.name}: its {style}"


def _odd_names(columns: Iterable[str]) -> Iterator[tuple[str, str]]:
    """The kind of what a column's name tells of the file's encoding, and a sentence on it."""
    for name in columns:
        if found := _control_character(name):
            yield _seems(f"the column {name!r}", found)


def _odd(row: Row) -> Iterator[tuple[str, str]]:
    """Likewise of values that are text of another kind than they look, as others may be."""
    for column, value in row.values.items():
        if not isinstance(value, str):
            continue
        if found := _control_character(value):
            yield _seems(f"row {row.number}: {column!r}", found)
        if value == r"\N":
            told = f"row {row.number}: {column!r} is {value}, as MySQL and PostgreSQL write a null"
            yield value, f"{told}, and others may be: it is sent as it is"


def _seems(place: str, found: str) -> tuple[str, str]:
    meant = "text in ISO-2022, or of a terminal," if found == "\x1b" else "text in CP1252 that was converted as Latin-1"
    told = (
        f"{place} holds the control character U+{ord(found):04X}, and others may: {meant} looks so; it is sent as it is"
    )
    return meant, told


def _control_character(text: str) -> str | None:
    if "\x1b" in text:
        return "\x1b"
    found = None if text.isascii() else _C1.search(text)
    return found and found[0]


def _no_good_row(name: str, file_format: str, size: int, problem: str | None) -> str:
    told = f"none of the {size} rows of {name} can be used ({problem or 'they are empty objects'}, for one)"
    if name == STDIN and file_format == "jsonl":
        return f"{told}; standard input is read as JSONL, one object a line, unless --format says otherwise"
    if file_format == "jsonl":
        return (
            f"{told}; is it JSONL, one object a line? an array, or objects of several lines, are read by --format json"
        )
    return f"{told}; is it {file_format.upper()}?"


def _fingerprint(files: Sequence[File]) -> str:
    if len(files) == 1:
        return _sha256(files[0].path)
    return hashlib.sha256("".join(f"{file.name}\n{_sha256(file.path)}\n" for file in files).encode()).hexdigest()


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns
