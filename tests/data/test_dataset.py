"""Reading: every format, and every bad day a file can have."""

# ruff: noqa: RUF001  # text as people write it

from __future__ import annotations

import bz2
import csv
import gzip
import hashlib
import io
import json
import lzma
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieval_tasks.core.errors import PlanError
from fieval_tasks.data.dataset import Dataset, Reading, Row, read_dataset
from fieval_tasks.data.values import Flaw, text_of

Write = Callable[[str, "str | bytes"], str]
TABLE = [{"question": "Why?", "answer": "Because, “so”."}, {"question": "Two\nlines", "answer": 'a "quote"'}]
CSV = 'question,answer\nWhy?,"Because, “so”."\n"Two\nlines","a ""quote"""\n'
JSONL = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in TABLE)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(name: str, content: str | bytes) -> str:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    return write


def parquet(path: Path, columns: dict[str, list[object]]) -> str:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table(columns), path)
    return str(path)


def values(dataset: Dataset) -> list[dict[str, object]]:
    return [dict(row.values) for row in dataset.rows()]


def problem_of(location: str) -> str:
    with pytest.raises(PlanError) as error:
        read_dataset(location)
    (problem,) = error.value.problems
    return problem


# Formats


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", CSV),
        ("a.CSV", CSV),
        ("a.csv", CSV.replace(",", ";").replace("e; “", "e, “")),
        ("a.tsv", CSV.replace("n,a", "n\ta").replace("?,", "?\t").replace('s","', 's"\t"')),
        ("a.jsonl", JSONL),
        ("a.ndjson", JSONL.replace("\n", "\n\n \n")),
        ("a.json", json.dumps(TABLE)),
        ("a.json", json.dumps({"data": TABLE, "version": 1})),
        ("a.json", json.dumps({"rows": TABLE}, indent=2)),
        ("a.json", JSONL),
        ("a.csv.gz", gzip.compress(CSV.encode())),
        ("a.jsonl.gz", gzip.compress(JSONL.encode())),
        ("unzipped-on-the-way.csv.gz", CSV),
        ("gzipped-all-the-same.csv", gzip.compress(CSV.encode())),
    ],
)
def test_the_same_rows_come_out_of_every_format(write: Write, name: str, content: str | bytes) -> None:
    location = write(name, content)
    with read_dataset(location) as dataset:
        assert values(dataset) == TABLE
        assert [row.number for row in dataset.rows()] == [1, 2]
        assert (dataset.name, dataset.columns, dataset.size) == (name, ("question", "answer"), 2)
        assert dataset.fingerprint == hashlib.sha256(Path(location).read_bytes()).hexdigest()


def test_parquet_keeps_its_types_and_leaves_out_the_index_of_pandas(tmp_path: Path) -> None:
    import pandas as pd

    when = datetime(2026, 8, 1, 12, 30)
    frame = pd.DataFrame(
        {
            "answer": ["a", None],
            "docs": [["x", "y"], []],
            "price": [Decimal("1.10"), Decimal("2.00")],
            "at": [when] * 2,
        },
        index=[7, 9],
    )
    frame.to_parquet(tmp_path / "a.parquet")
    dataset = read_dataset(str(tmp_path / "a.parquet"))
    assert dataset.columns == ("answer", "docs", "price", "at")
    assert values(dataset)[0] == {"answer": "a", "docs": ["x", "y"], "price": Decimal("1.10"), "at": when}
    assert values(dataset)[1]["answer"] is None


def test_columns_of_jsonl_are_those_of_all_rows_in_first_seen_order(write: Write) -> None:
    dataset = read_dataset(write("a.jsonl", '{"b": 1}\n{"a": 1, "b": 2}\n{"c": null}\n'))
    assert dataset.columns == ("b", "a", "c")


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"]
)
@pytest.mark.parametrize(("name", "content"), [("a.csv", CSV), ("a.jsonl", JSONL)])
def test_any_line_end_and_any_unicode_encoding_reads_alike(
    write: Write, name: str, content: str, encoding: str, end: str
) -> None:
    dataset = read_dataset(write(name, content.replace("\n", end).encode(encoding)))
    assert dataset.columns == ("question", "answer")
    assert [{k: str(v).replace(end, "\n") for k, v in row.items()} for row in values(dataset)] == TABLE


def test_csv_cells_are_never_taken_for_numbers(write: Write) -> None:
    dataset = read_dataset(write("a.csv", "a,b,c\n007,1e5, NaN \n"))
    assert values(dataset) == [{"a": "007", "b": "1e5", "c": " NaN "}]


def test_a_cell_of_five_megabytes_is_read_whole(write: Write) -> None:
    cell = "word " * 2**20
    assert values(read_dataset(write("a.csv", f"a,b\n1,{cell}\n"))) == [{"a": "1", "b": cell}]
    assert values(read_dataset(write("a.jsonl", json.dumps({"b": cell})))) == [{"b": cell}]


def test_blank_lines_are_no_rows(write: Write) -> None:
    dataset = read_dataset(write("a.csv", "\n\na,b\n\n1,2\n\n\n3,4\n\n"))
    assert values(dataset) == [{"a": "1", "b": "2"}, {"a": "3", "b": "4"}]


def test_a_blank_cell_in_the_only_column_is_a_row(write: Write) -> None:
    assert values(read_dataset(write("a.csv", 'a\n1\n""\n2\n'))) == [{"a": "1"}, {"a": ""}, {"a": "2"}]


def test_a_column_without_a_name_is_called_by_its_place(write: Write) -> None:
    dataset = read_dataset(write("a.csv", ", answer\n0,yes\n"))  # as pandas writes its index
    assert dataset.columns == ("column 1", "answer")


def test_a_nul_stays_where_it_is_on_every_python(write: Write) -> None:
    dataset = read_dataset(write("a.csv", 'a,b\nx,"1\0\n2"\ny,z\n'))
    assert values(dataset) == [{"a": "x", "b": "1\0\n2"}, {"a": "y", "b": "z"}]


def test_rows_can_be_read_again_and_in_step(write: Write) -> None:
    dataset = read_dataset(write("a.csv", CSV))
    both = list(zip(dataset.rows(), dataset.rows(), strict=True))
    assert all(left == right for left, right in both)
    assert len(both) == 2


@given(st.lists(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0")), min_size=2, max_size=2)))
def test_what_the_csv_module_writes_comes_back(
    tmp_path_factory: pytest.TempPathFactory, cells: list[list[str]]
) -> None:
    path = tmp_path_factory.mktemp("csv") / "a.csv"
    with path.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([["left", "right"], *cells])
    if cells:
        assert values(read_dataset(str(path))) == [{"left": left, "right": right} for left, right in cells]


@given(st.lists(st.dictionaries(st.text(), st.none() | st.booleans() | st.integers() | st.text()), min_size=1))
def test_json_lines_and_a_json_array_hold_the_same(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, object]]
) -> None:
    folder = tmp_path_factory.mktemp("json")
    (folder / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (folder / "a.json").write_text(json.dumps(rows))
    if any(rows):
        assert values(read_dataset(str(folder / "a.jsonl"))) == values(read_dataset(str(folder / "a.json"))) == rows


# Where it comes from


@pytest.fixture
def copies(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The system's folder for temporary files, empty."""
    folder = tmp_path_factory.mktemp("copies")
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


def typed_in(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))


def test_standard_input_is_jsonl_and_its_copy_goes_with_the_dataset(
    copies: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    typed_in(JSONL, monkeypatch)
    with read_dataset("-") as dataset:
        assert values(dataset) == values(dataset) == TABLE
        assert dataset.name == "<stdin>"
        assert dataset.fingerprint == hashlib.sha256(JSONL.encode()).hexdigest()
        assert len(os.listdir(copies)) == 1
    assert os.listdir(copies) == []


def test_a_refused_standard_input_leaves_no_copy(copies: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    typed_in(CSV, monkeypatch)
    with pytest.raises(PlanError, match="standard input is read as JSONL"):
        read_dataset("-")
    assert os.listdir(copies) == []


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_is_copied_because_it_can_be_read_only_once(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=(JSONL,))
    writer.start()
    with read_dataset(str(pipe)) as dataset:
        writer.join()
        assert values(dataset) == values(dataset) == TABLE


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """fsspec's file system in memory, which only tests read."""
    monkeypatch.setattr("fieval_tasks.core.locations.SCHEMES", ("memory",))


@pytest.mark.usefixtures("memory")
def test_a_url_is_fetched_once_by_fsspec(copies: Path) -> None:
    import fsspec

    with fsspec.open("memory://bucket/answers.csv", "wb") as stream:
        stream.write(CSV.encode())
    with read_dataset("memory://bucket/answers.csv") as dataset:
        assert dataset.name == "answers.csv"
        assert values(dataset) == TABLE
    assert os.listdir(copies) == []


@pytest.mark.usefixtures("memory")
def test_a_url_that_fails_is_named_without_its_signature(tmp_path: Path) -> None:
    problem = problem_of("memory://user:pass@bucket/nope.csv?sig=secret")
    assert problem.startswith("nope.csv can't be fetched from memory: ")
    assert "secret" not in problem
    assert "pass" not in problem


class _Answers403(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_error(403)

    def log_message(self, *_: object) -> None:
        pass


def test_what_a_server_answered_for_a_dataset_is_told() -> None:
    with HTTPServer(("127.0.0.1", 0), _Answers403) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/a.csv"
        assert problem_of(address).startswith("a.csv can't be fetched from http: 403, message='Forbidden'")
        assert address not in problem_of(f"{address}?v=a-signature")
        server.shutdown()


@pytest.mark.parametrize(
    ("name", "module", "step"),
    [
        ("a.parquet", "pyarrow", "a.parquet is Parquet, which needs pyarrow: pip install pyarrow"),
        ("a.yaml", "yaml", "a.yaml is YAML, which needs PyYAML: pip install pyyaml"),
    ],
)
def test_what_reads_a_format_is_named_where_it_is_not_installed(
    write: Write, monkeypatch: pytest.MonkeyPatch, name: str, module: str, step: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.delitem(sys.modules, "fieval_tasks.data.yaml_text", raising=False)
    content = "PAR1" if module == "pyarrow" else "- a: 1\n"
    assert problem_of(write(name, content)) == step


def test_a_path_costs_no_slow_import(write: Write) -> None:
    code = (
        "import sys; from fieval_tasks.data.dataset import read_dataset; list(read_dataset(sys.argv[1]).rows());"
        "print(*{'pandas', 'pyarrow', 'numpy', 'fsspec', 'prefect', 'pydantic'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code, write("a.csv", CSV)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


# Files that can't be used


def test_a_missing_file_is_named_with_its_neighbours(write: Write, tmp_path: Path) -> None:
    write("answers.csv", CSV)
    assert problem_of(str(tmp_path / "answer.csv")).endswith(f"did you mean {tmp_path / 'answers.csv'}?")
    assert "has: answers.csv" in problem_of(str(tmp_path / "zzz"))
    assert "nor does its folder" in problem_of(str(tmp_path / "nowhere" / "answers.csv"))


def test_a_path_that_no_file_can_have_is_a_plan_error() -> None:
    assert "can't be opened" in problem_of("a\0b.csv")
    assert "can't be opened" in problem_of("x" * 5000 + ".csv")


def test_a_folder_a_pattern_or_several_files_are_one_dataset(write: Write, tmp_path: Path) -> None:
    write("part-0.csv", "a,b\n1,2\n3\n")
    write("part-1.csv", "b,c\n4,5\n")
    write("_SUCCESS", "")
    write(".hidden.csv", "x\n1\n")
    write("notes.txt", "not a dataset")
    several = f"{tmp_path}/part-0.csv\n{tmp_path}/part-1.csv"
    for location in (str(tmp_path), f"{tmp_path}/part-*.csv", f"{tmp_path}/**/p*[01].csv", several):
        dataset = read_dataset(location)
        assert (dataset.columns, dataset.size) == (("a", "b", "c"), 3)
        assert [(row.number, row.file, row.problem) for row in dataset.rows()] == [
            (1, "part-0.csv", None),
            (2, "part-0.csv", "part-0.csv: line 3 has 1 fields where the header has 2"),
            (3, "part-1.csv", None),
        ]
        left_out = [f"of {tmp_path} these are not read: notes.txt"] if location == str(tmp_path) else []
        assert dataset.notices == (
            "2 files are read as one, in this order, with so many rows each: part-0.csv (2), part-1.csv (1)",
            *left_out,
        )
    assert read_dataset(str(tmp_path)).fingerprint == read_dataset(several).fingerprint
    assert read_dataset(several).name == "part-0.csv and 1 more"


def test_what_a_folder_holds_beside_its_datasets_is_said(write: Write, tmp_path: Path) -> None:
    write("PART-0.CSV", CSV)
    for name in ("new/part-1.csv", "old/part-1.csv", "part-2.csv.zst"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write(name, CSV)
    pattern = f"a pattern, as '{tmp_path}/**/*.csv', names the files of its folders too"
    dataset = read_dataset(str(tmp_path))
    assert dataset.name == "PART-0.CSV"
    assert dataset.notices == (f"of {tmp_path} these are not read: new/, old/, part-2.csv.zst; {pattern}",)
    (tmp_path / "PART-0.CSV").unlink()
    assert pattern in problem_of(str(tmp_path))


def test_the_folders_of_partitions_tell_a_column(write: Write, tmp_path: Path) -> None:
    for name in (
        "t/lang=fr/year=2026/part-0.csv",
        "t/lang=d%2Fe/year=__HIVE_DEFAULT_PARTITION__/part-0.csv",
        "t/_SUCCESS",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        write(name, "a\nx\n")
    for location in (tmp_path / "t", tmp_path / "t/**/*.csv", tmp_path / "t/lang=*/*/*.csv"):
        dataset = read_dataset(str(location))
        assert values(dataset) == [{"lang": "d/e", "year": "", "a": "x"}, {"lang": "fr", "year": "2026", "a": "x"}]
        assert dataset.columns == ("lang", "year", "a")
        (notice,) = dataset.notices
        assert notice.endswith(
            "each: lang=d%2Fe/year=__HIVE_DEFAULT_PARTITION__/part-0.csv (1), lang=fr/year=2026/part-0.csv (1)"
        )


def test_a_column_that_contradicts_its_folder_fails_its_row(write: Write, tmp_path: Path) -> None:
    (tmp_path / "t/lang=fr/month=01").mkdir(parents=True)
    write("t/lang=fr/month=01/part-0.csv", "lang,month,a\nfr,1,x\nen,01,y\n")
    agrees, contradicts = read_dataset(str(tmp_path / "t")).rows()
    assert agrees.values == {"lang": "fr", "month": "1", "a": "x"}
    assert contradicts.problem == "its 'lang' is 'en', and its folder is lang=fr: which one is meant can't be told"


def test_a_folder_that_has_its_files_in_its_only_folder_is_read(write: Write, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for name in ("README.md", ".gitattributes", "data/notes.txt"):
        write(name, "x")
    parquet(tmp_path / "data/train-00000-of-00002.parquet", {"a": ["x"]})
    parquet(tmp_path / "data/train-00001-of-00002.parquet", {"a": ["y"]})
    dataset = read_dataset(str(tmp_path))
    assert values(dataset) == [{"a": "x"}, {"a": "y"}]
    assert dataset.notices[1] == f"of {tmp_path} these are not read: README.md, data/notes.txt"


@pytest.mark.parametrize("empty", ["a,b\n", "", "\n"])
def test_a_part_without_rows_is_told_and_costs_no_other(write: Write, tmp_path: Path, empty: str) -> None:
    write("part-0.csv", "a,b\n1,2\n")
    write("part-1.csv", empty)
    parquet(tmp_path / "x.parquet", {"a": []})
    dataset = read_dataset(f"{tmp_path}/part-*.csv\n{tmp_path}/x.parquet")
    assert values(dataset) == [{"a": "1", "b": "2"}]
    assert dataset.notices[0].endswith("each: part-0.csv (1), part-1.csv (0), x.parquet (0)")
    (tmp_path / "part-0.csv").unlink()
    assert (
        problem_of(f"{tmp_path}/part-*.csv\n{tmp_path}/x.parquet") == "part-1.csv and 1 more is empty: it holds no rows"
    )


def test_a_file_that_is_named_twice_is_refused_and_a_pattern_names_each_once(write: Write, tmp_path: Path) -> None:
    location = write("a.csv", "a\n1\n")
    for twice in (
        f"{location}\n{location}",
        f"{location}\n{tmp_path}/*.csv",
        f"{tmp_path}\n{tmp_path}/../{tmp_path.name}/a.csv",
    ):
        assert problem_of(twice) == "a.csv is named more than once: name each file once"
    (tmp_path / "again").symlink_to(tmp_path)
    assert read_dataset(f"{tmp_path}/**/*.csv").size == 1


def test_a_file_whose_name_is_no_text_is_read(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"t\xff")
    folder.mkdir()
    for name in (b"a.csv", b"b\xff.csv", b"c\xff.txt"):
        (folder / os.fsdecode(name)).write_text("a\n1\n")
    dataset = read_dataset(str(folder))
    assert [row.file for row in dataset.rows()] == ["a.csv", r"b\udcff.csv"]
    for text in (dataset.name, *dataset.notices):
        assert text.encode()
    assert read_dataset(str(folder / os.fsdecode(b"b\xff.csv"))).name == r"b\udcff.csv"


def test_a_folder_with_a_closed_one_in_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(folder: Path) -> None:
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr(Path, "iterdir", closed)
    assert problem_of(str(tmp_path)).startswith(f"{tmp_path} can't be read: [Errno 13] Permission denied")


def test_a_pattern_that_no_file_is_called_like_is_told(write: Write, tmp_path: Path) -> None:
    write("a.csv", CSV)
    assert (
        problem_of(f"{tmp_path}/*.tsv")
        == f"no file is called like {tmp_path}/*.tsv ({tmp_path} has: a.csv); check the pattern"
    )


@pytest.mark.parametrize(
    ("reading", "option"), [(Reading(delimiter=";"), "--delimiter"), (Reading(rows="a"), "--rows")]
)
def test_what_a_format_has_no_use_for_is_refused(write: Write, reading: Reading, option: str) -> None:
    with pytest.raises(PlanError, match=f"{option} .* is read as JSONL; leave it out"):
        read_dataset(write("a.jsonl", JSONL), reading)


@pytest.mark.parametrize("name", ["a.jsonl", "a.json"])
def test_a_name_that_stands_twice_in_an_object_is_named(write: Write, name: str) -> None:
    assert "an object has 'answer' more than once" in problem_of(write(name, '{"answer": "a", "answer": "b"}\n'))
    assert "cut short" not in problem_of(write(name, '{"answer": "a", "answer": "b"}')), "it is whole"


@pytest.mark.parametrize(("name", "written"), [("a.jsonl", '{{"a": {}}}'), ("a.json", '[{{"a": {}}}]')])
@pytest.mark.parametrize(
    ("number", "text"),
    [
        ("0.12345678901234567890", "0.12345678901234567890"),
        ("12345678901234567890.5", "12345678901234567890.5"),
        ("1e-400", "1E-400"),
        ("1e400", "1E+400"),
        ("1.10", "1.1"),
        ("1e5", "100000.0"),
    ],
)
def test_a_number_that_no_float_is_stays_what_it_is(
    write: Write, name: str, written: str, number: str, text: str
) -> None:
    (row,) = values(read_dataset(write(name, written.format(number))))
    assert text_of(row["a"]) == text


@pytest.mark.parametrize("number", ["1e-99999999999999999999", "0e99999999999999999999", "1e99999999999999999999"])
def test_a_number_beyond_all_bounds_is_its_rows_problem(write: Write, number: str) -> None:
    first, second = read_dataset(write("a.jsonl", f'{{"a": 1}}\n{{"a": {number}}}\n')).rows()
    assert first.problem is None
    assert second.problem == f"line 2 is not JSON (the number {number} is beyond all bounds)"
    assert f"the number {number} is beyond all bounds" in problem_of(write("a.json", f'[{{"a": {number}}}]'))


def test_a_parquet_time_keeps_its_nanoseconds(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"at": pa.array([1, 60_000_000_000, None], pa.time64("ns"))}), tmp_path / "a.parquet")
    told = [text_of(row["at"]) for row in values(read_dataset(str(tmp_path / "a.parquet")))]
    assert told[:2] == ["00:00:00.000000001", "00:01:00"]
    assert isinstance(told[2], Flaw)


def test_of_two_lists_neither_is_taken_for_the_rows(write: Write) -> None:
    assert "say which by --rows" in problem_of(write("a.json", json.dumps({"data": TABLE, "rows": TABLE})))
    assert values(read_dataset(write("b.json", json.dumps({"data": [], "examples": TABLE})))) == TABLE


def test_text_in_an_encoding_of_seven_bits_is_said_to_look_so(write: Write) -> None:
    (notice,) = read_dataset(write("a.csv", "id,answer\n1,日本語\n".encode("iso2022_jp"))).notices
    assert notice.startswith("row 1: 'answer' holds the control character U+001B")
    (notice,) = read_dataset(write("b.csv", "id,答え\n1,yes\n".encode("iso2022_jp"))).notices
    assert notice.startswith("the column '\\x1b$BEz$(\\x1b(B' holds the control character U+001B")


def test_the_null_of_a_database_is_said_to_be_text(write: Write) -> None:
    (notice,) = read_dataset(write("a.csv", "id,answer\n1,\\N\n2,\\N\n")).notices
    assert (
        notice == r"row 1: 'answer' is \N, as MySQL and PostgreSQL write a null, and others may be: it is sent as it is"
    )


def test_a_file_whose_name_has_a_patterns_letters_is_that_file(write: Write, tmp_path: Path) -> None:
    write("a1.csv", "a\n1\n")
    assert values(read_dataset(write("a[1].csv", "a\n2\n"))) == [{"a": "2"}]


def test_a_folder_of_several_formats_or_of_none_is_refused(write: Write, tmp_path: Path) -> None:
    assert "is a folder with no dataset in it" in problem_of(str(tmp_path))
    write("a.csv", CSV)
    write("b.jsonl", JSONL)
    problem = problem_of(str(tmp_path))
    assert "is a folder with files of csv and jsonl" in problem
    assert f"{tmp_path}/*.csv" in problem


def test_one_of_several_files_that_changes_is_named(write: Write, tmp_path: Path) -> None:
    dataset = read_dataset("\n".join([write("a.csv", CSV), write("b.csv", CSV)]))
    write("b.csv", CSV + "more,rows\n")
    with pytest.raises(PlanError, match=r"b\.csv changed or went away"):
        dataset.rows()


@pytest.mark.parametrize("name", ["export", "export.txt", "export.csv.1"])
def test_what_a_file_is_can_be_said(write: Write, name: str) -> None:
    location = write(name, CSV)
    assert "say what it is by --format" in problem_of(location)
    assert values(read_dataset(location, Reading(format="csv"))) == TABLE


def test_what_comes_by_standard_input_can_be_said(monkeypatch: pytest.MonkeyPatch) -> None:
    typed_in(CSV, monkeypatch)
    dataset = read_dataset("-", Reading(format="csv"))
    assert values(dataset) == TABLE
    assert dataset.name == "<stdin>"


def test_the_delimiter_can_be_said(write: Write) -> None:
    text = "a,b^c\n1,2^3\n"
    assert values(read_dataset(write("a.csv", text), Reading(delimiter="^"))) == [{"a,b": "1,2", "c": "3"}]


@pytest.mark.parametrize(
    ("content", "path"),
    [
        ({"testCases": TABLE}, None),
        ({"version": 2, "results": {"examples": TABLE, "tags": ["a"]}}, None),
        ({"data": TABLE, "others": [{"x": 1}]}, None),
        ({"train": [{"x": 1}], "test": TABLE}, "test"),
        ({"a": {"b": [{"c": TABLE}]}}, "a.b[0].c"),
    ],
)
def test_the_list_of_objects_in_a_json_document_is_found_or_named(
    write: Write, content: object, path: str | None
) -> None:
    assert values(read_dataset(write("a.json", json.dumps(content)), Reading(rows=path))) == TABLE


def test_a_json_document_with_several_lists_of_objects_names_them(write: Write) -> None:
    location = write("a.json", json.dumps({"train": [{"x": 1}], "more": {"test": TABLE}}))
    assert (
        problem_of(location)
        == "a.json holds several lists of objects: train (1), more.test (2); say which by --rows PATH"
    )
    with pytest.raises(
        PlanError, match=r"--rows tset: there is no list in a\.json \(lists of objects in it: train \(1\), m"
    ):
        read_dataset(location, Reading(rows="tset"))


def test_objects_one_after_the_other_are_rows_however_they_are_laid_out(write: Write) -> None:
    text = "\n".join(json.dumps(row, indent=2) for row in TABLE)
    assert values(read_dataset(write("a.json", text))) == TABLE
    assert "a.json is not JSON: line 3, column 1: Extra data" in problem_of(write("a.json", '[{"a": 1}]\n\n[1]'))


def test_a_value_that_python_has_no_type_for_is_that_values_problem_alone(tmp_path: Path) -> None:
    import pyarrow as pa

    far = pa.array([20_000, 10**8, None], pa.date32())
    dataset = read_dataset(parquet(tmp_path / "a.parquet", {"a": ["x", "y", "z"], "until": far}))
    first, second, third = values(dataset)
    assert (first["until"], third["until"]) == (date(2024, 10, 4), None)
    assert text_of(second["until"]) == Flaw("not_text", "can't be read (date value out of range)")
    assert [row.problem for row in dataset.rows()] == [None] * 3


@pytest.mark.parametrize("name", ["a.xlsx", "a", "a.txt", "a.gz", "a.parquet.gz"])
def test_an_extension_that_tells_no_format_is_refused(write: Write, name: str) -> None:
    assert problem_of(write(name, CSV)).startswith(f"{name} ")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read anything")
def test_a_file_one_may_not_read_is_a_plan_error(write: Write) -> None:
    location = write("a.csv", CSV)
    os.chmod(location, 0)
    assert "Permission denied" in problem_of(location)


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl", "a.csv.gz"])
@pytest.mark.parametrize("content", ["", "\ufeff", "\n\n \n"])
def test_an_empty_file_is_refused(write: Write, name: str, content: str) -> None:
    problem = problem_of(write(name, content))
    assert "is empty" in problem or "no rows" in problem


def test_an_empty_parquet_is_refused(tmp_path: Path) -> None:
    assert "(answer) and no rows" in problem_of(parquet(tmp_path / "a.parquet", {"answer": []}))


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.csv", "question,answer\n", "a.csv has a header (question, answer) and no rows"),
        ("a.csv", 'a,b\n1,2\n3,"open\n5,6\n7,8\n', "opened in the record at line 3 that is never closed"),
        ("a.csv", CSV.encode("utf-16")[:-1], "is not whole UTF-16 text"),
        ("a.csv.gz", gzip.compress(CSV.encode() * 99)[:-20], "damaged gzip"),
        ("a.json", "[]", "is empty"),
        ("a.json", '{"rows": []}', "is empty"),
        ("a.json", '[{"a": 1},\n{"b": }]', "a.json is not JSON: line 2, column 7: "),
        pytest.param("a.json", "[" * 200_000, "is not JSON that can be read", id="nested too deeply"),
        ("a.jsonl", CSV, "none of the 4 rows of a.jsonl can be used (line 1 is not JSON"),
        ("a.parquet", CSV, "is not a Parquet file"),
    ],
)
def test_a_file_of_no_use_is_named_with_what_is_wrong(write: Write, name: str, content: str | bytes, told: str) -> None:
    assert told in problem_of(write(name, content))


def test_two_columns_of_one_name_are_refused_with_their_places(write: Write, tmp_path: Path) -> None:
    with pytest.raises(PlanError) as error:
        read_dataset(write("a.csv", "a,b,a,b, a\n1,2,3,4,5\n"))
    assert error.value.problems == (
        "a.csv: 'a' is the name of columns 1, 3 and 5; give each its own name",
        "a.csv: 'b' is the name of columns 2 and 4; give each its own name",
    )
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"]), tmp_path / "a.parquet")
    assert "columns 1 and 2" in problem_of(str(tmp_path / "a.parquet"))


@pytest.mark.parametrize(
    ("name", "content", "offset", "line"),
    [
        ("a.csv", b"a,b\nfine,caf\xe9\n", 12, 2),
        ("a.csv", b"a,b\rfine,caf\xe9\r", 12, 2),
        ("a.csv", b"a,b\n" + b"x,y\n" * 9000 + b"caf\xe9,1\n", 36007, 9002),
        ("a.jsonl", b'{"a": "caf\xe9"}\n', 10, 1),
        ("a.json", b'[\n{"a": "caf\xe9"}]\n', 12, 2),
        ("a.yaml", b"- a: fine\n- a: caf\xe9\n", 18, 2),
        ("a.csv.gz", gzip.compress(b"a,b\nfine,caf\xe9\n"), 12, 2),
    ],
)
def test_a_byte_that_is_not_utf8_is_named_by_offset_and_line(
    write: Write, name: str, content: bytes, offset: int, line: int
) -> None:
    problem = problem_of(write(name, content))
    assert problem.startswith(f"{name} is not UTF-8: byte 0xE9 at offset {offset} (line {line}); save it as UTF-8")
    assert problem.endswith(f"once you know its encoding: iconv -f ENCODING -t UTF-8 {name}")


@pytest.mark.parametrize(
    ("encoding", "text", "is_named"),
    [
        ("cp1252", "What’s the rule? Don’t pay € 5 – it’s free.", True),
        ("cp1252", "Où est l’été ? « Ici » — bientôt…", True),
        ("latin-1", "Où est-il ? Café « ici »", False),  # no byte tells it from many others
        ("cp1251", "Что это? – «Правило», “бесплатно”…", False),
        ("cp1253", "Τι είναι; – “Κανόνας”", False),
        ("cp1250", "Źdźbło – ścieżka, “żółć”", False),
        ("shift_jis", "これは何ですか。「規則」", False),
        ("gbk", "这是什么？“规则”——免费", False),
        ("mac-roman", "What’s the rule? Café – “free”", False),
    ],
)
def test_cp1252_is_named_where_the_bytes_say_so_and_nothing_else_is_guessed(
    write: Write, encoding: str, text: str, is_named: bool
) -> None:
    problem = problem_of(write("a.csv", f"answer\n{text}\n".encode(encoding)))
    assert ("iconv -f CP1252" in problem) is is_named, problem
    assert "LATIN" not in problem


def test_text_that_was_converted_by_the_wrong_encoding_is_told(write: Write) -> None:
    damaged = "What’s free?".encode("cp1252").decode("latin-1")
    dataset = read_dataset(write("a.csv", f"question,answer\nfine,fine\nso,{damaged}\n"))
    (notice,) = dataset.notices
    assert notice.startswith("row 2: 'answer' holds the control character U+0092")
    assert values(dataset)[1]["answer"] == damaged
    assert read_dataset(write("b.csv", "question\nWhat’s “free”…\x85\n")).notices == ()


def test_how_a_file_was_read_is_told_where_its_name_does_not(write: Write) -> None:
    assert read_dataset(write("a.csv", "a;b\n1;2\n")).notices == ("a.csv: its cells are parted by semicolons",)
    assert read_dataset(write("a.csv", CSV)).notices == ()
    assert read_dataset(write("a.tsv", "a\tb\n1\t2\n")).notices == ()


FOREIGN = [
    (b"PAR1....", "a Parquet file", "--format parquet"),
    (b"PK\x03\x04....", "a zip archive or an Excel workbook", "unzip it, or save it from there as CSV UTF-8"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1..", "a workbook", "save it from there as CSV UTF-8"),
    (b"%PDF-1.7", "a PDF", "find the table"),
    (bz2.compress(CSV.encode()), "compressed by bzip2", "bunzip2"),
    (lzma.compress(CSV.encode()), "compressed by xz", "unxz"),
    (b"\x28\xb5\x2f\xfd....", "compressed by Zstandard", "unzstd"),
    (gzip.compress(gzip.compress(CSV.encode())), "compressed by gzip once too often", "gunzip"),
    (b"a.csv".ljust(257, b"\0") + b"ustar\x0000" + CSV.encode(), "a tar archive", "tar -xf"),
    (b"ARROW1..", "an Arrow file", "to_parquet"),
    (b"ORC.....", "an ORC file", "to_parquet"),
    (b"SQLite format 3\0..", "an SQLite database", "as CSV"),
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d\n", "git-lfs's pointer", "git lfs pull"),
    (b"<!DOCTYPE html>\n<p>Log in, please</p>\n", "a page of HTML", "fetch the file again"),
]


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.json", "a.parquet"])
@pytest.mark.parametrize(("content", "kind", "step"), FOREIGN)
def test_a_file_of_another_kind_by_the_name_of_ours_is_named_with_the_next_step(
    write: Write, name: str, content: bytes, kind: str, step: str
) -> None:
    if name == "a.parquet" and content.startswith(b"PAR1"):
        return
    problem = problem_of(write(name, content))
    assert problem.startswith(f"{name} is {kind}")
    assert step in problem


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("a.xlsx", "is a workbook by its extension: save it from there as CSV UTF-8"),
        ("a.csv.zip", "unzip it"),
        ("a.csv.zst", "is compressed by Zstandard by its extension: unpack it first: unzstd"),
        ("a.feather", "read_feather(...).to_parquet(...)"),
    ],
)
def test_the_extension_of_another_kind_is_told_with_the_next_step(write: Write, name: str, step: str) -> None:
    assert step in problem_of(write(name, CSV))


def test_parquet_inside_gzip_is_named(tmp_path: Path, write: Write) -> None:
    whole = Path(parquet(tmp_path / "b.parquet", {"a": ["x"]})).read_bytes()
    for name in ("a.parquet.gz", "a.parquet"):
        assert problem_of(write(name, gzip.compress(whole))).endswith(
            "is compressed by gzip once too often, not PARQUET: unpack it: gunzip"
        )


def odd_columns() -> dict[str, Any]:
    """Of each kind that Python has no value for."""
    import pyarrow as pa

    twins = pa.StructArray.from_arrays([pa.array([1]), pa.array([2])], ["a", "a"])
    not_text = pa.Array.from_buffers(pa.string(), 1, [None, pa.py_buffer(b"\0\0\0\0\1\0\0\0"), pa.py_buffer(b"\xff")])
    return {
        "a date beyond the year 9999": pa.array([10**8], pa.date32()),
        "a moment before the year 1": pa.array([-(10**14)], pa.timestamp("ms")),
        "a time zone that nobody knows": pa.array([1], pa.timestamp("us", tz="Mars/Phobos")),
        "two fields of one name": twins,
        "text that is no UTF-8": not_text,
        "times of nanoseconds in a list": pa.array([[5]], pa.list_(pa.time64("ns"))),
        "times of nanoseconds in an object": pa.array([{"t": 5}], pa.struct([("t", pa.time64("ns"))])),
    }


@pytest.mark.parametrize("odd", odd_columns())
def test_a_parquet_cell_that_python_has_no_value_for_is_a_problem_where_it_is_wanted(tmp_path: Path, odd: str) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"fine": ["x"], "answer": odd_columns()[odd]}), tmp_path / "a.parquet")
    (row,) = values(read_dataset(str(tmp_path / "a.parquet")))
    assert row["fine"] == "x"
    flaw = text_of(row["answer"])
    assert isinstance(flaw, Flaw)
    assert flaw.why.startswith("can't be read (")


def test_a_period_of_pandas_is_never_a_number(tmp_path: Path) -> None:
    import pandas as pd

    pd.DataFrame({"fine": ["x"], "month": pd.period_range("2026-01", periods=1, freq="M")}).to_parquet(
        tmp_path / "a.parquet"
    )
    code = (
        "import sys; from fieval_tasks.data.dataset import read_dataset; from fieval_tasks.data.values import text_of;"
        "[row] = read_dataset(sys.argv[1]).rows(); print(row.values['fine'], text_of(row.values['month']).why)"
    )
    for imports in ("", "import pandas;"):  # which makes the type known to pyarrow
        command = [sys.executable, "-c", imports + code, str(tmp_path / "a.parquet")]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert done.stdout == "x can't be read (the file holds a number for each pandas.Period: write it as text)\n"


@pytest.mark.parametrize(
    "text", ['[{"a": 1},\n{"a": 2}]\n', '{\n"a": 1\n}\n{\n"a": 2\n}\n', '\n[\n{"a": 1},\n{"a": 2}\n]\n']
)
def test_json_by_the_name_of_jsonl_is_told_how_it_is_read(write: Write, text: str) -> None:
    location = write("a.jsonl", text)
    assert problem_of(location).endswith((", are read by --format json", ", which --format json reads"))
    assert values(read_dataset(location, Reading(format="json"))) == [{"a": 1}, {"a": 2}]


def test_a_parquet_that_was_cut_short_is_named(write: Write, tmp_path: Path) -> None:
    whole = Path(parquet(tmp_path / "b.parquet", {"a": ["x" * 1000]})).read_bytes()
    assert "Parquet" in problem_of(write("b.parquet", whole[:-30]))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ('{"question": ["a"], "answer": ["b"]}', "an object with the keys question, answer"),
        ('"text"', "a string"),
        ("3", "a number"),
        ("null", "null"),
        ("true", "a boolean"),
        ("{}", "an object"),
    ],
)
def test_json_that_is_no_array_is_named_with_what_to_write(write: Write, content: str, told: str) -> None:
    problem = problem_of(write("a.json", content))
    assert problem.startswith(f"a.json holds {told}, not an array of objects; write [{{...}}")


def test_a_file_that_changes_in_use_is_not_read_on(write: Write) -> None:
    location = write("a.csv", CSV)
    dataset = read_dataset(location)
    write("a.csv", CSV + "more,rows\n")
    with pytest.raises(PlanError, match="changed or went away"):
        dataset.rows()
    os.unlink(location)
    with pytest.raises(PlanError, match="changed or went away"):
        dataset.rows()


# Rows that can't be used: each is one problem, and the others are read


def test_rows_with_too_few_or_too_many_fields_are_problems(write: Write) -> None:
    dataset = read_dataset(write("a.csv", 'a,b\n"1\n1",2\n3\n4,5,6\n7,8,,\n9,10\n'))
    assert dataset.size == 5
    assert [row.problem for row in dataset.rows()] == [
        None,
        "line 4 has 1 fields where the header has 2",
        "line 5 has 3 fields where the header has 2",
        None,
        None,
    ]


def test_lines_that_are_not_json_objects_are_problems(write: Write) -> None:
    lines = ['{"a": 1}', "{'a': 1}", "[1]", "null", '"x"', '{"a": 2}', '{"a": "cut sho']
    rows = list(read_dataset(write("a.jsonl", "\n".join(lines))).rows())
    assert [row.number for row in rows] == [1, 2, 3, 4, 5, 6, 7]
    assert [row.values for row in rows if row.problem is None] == [{"a": 1}, {"a": 2}]
    problems = [row.problem for row in rows if row.problem]
    assert problems[0].startswith("line 2 is not JSON (column 2: ")
    assert problems[1:4] == [
        "line 3 is an array, not an object",
        "line 4 is null, not an object",
        "line 5 is a string, not an object",
    ]
    assert problems[4].endswith("the file ends here: was it cut short?")


def test_a_line_nested_beyond_reason_is_a_problem(write: Write) -> None:
    first, second = read_dataset(write("a.jsonl", '{"a": 1}\n{"a": ' + "[" * 200_000 + "\n")).rows()
    assert first.problem is None
    assert second.problem is not None


def test_elements_that_are_not_objects_are_problems(write: Write) -> None:
    dataset = read_dataset(write("a.json", '[{"a": 1}, [2], {"a": 3}]'))
    assert [row.problem for row in dataset.rows()] == [None, "element 2 is an array, not an object", None]


def test_a_row_is_its_number_its_values_and_its_problem() -> None:
    assert Row(1) == Row(number=1, values={}, problem=None)
