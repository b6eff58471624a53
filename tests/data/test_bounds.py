"""No line, cell or document of a dataset takes more memory than it may: what is larger is named, and never held."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest

from fieval_tasks.core.errors import PlanError
from fieval_tasks.data.files import File
from fieval_tasks.data.records import FORMATS, read_rows

SMALL = 1_000
"""Characters of a line, a cell or a document in these tests."""


def rows(path: Path) -> list[dict[str, object]]:
    return [dict(row.values) for row in read_rows(File(path.name, path, FORMATS[path.suffix], longest=SMALL))]


def problem(path: Path) -> str:
    with pytest.raises(PlanError) as error:
        rows(path)
    return str(error.value)


def line(length: int) -> str:
    """A JSON object in a line of this length, its end included."""
    return json.dumps({"a": "x" * (length - 10)}) + "\n"


def test_a_line_of_jsonl_has_a_bound_that_is_named_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(line(SMALL) * 2)
    assert len(rows(path)) == 2
    path.write_text(line(SMALL) + line(SMALL + 1))
    assert problem(path).startswith("a.jsonl: line 2 has more than 1,000 characters")


@pytest.mark.parametrize("name", ["a.csv", "a.tsv"])
def test_a_line_of_delimited_text_has_one(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    tab = {"a.csv": ",", "a.tsv": "\t"}[name]
    path.write_text(f"a{tab}b\n1{tab}{'x' * 900}\n")
    assert len(rows(path)) == 1
    path.write_text(f"a{tab}b\n1{tab}2\n1{tab}{'x' * 1_100}\n")
    assert problem(path).startswith(f"{name}: line 3 has more than 1,000 characters")
    path.write_text("x" * 3_000)
    assert problem(path).startswith(f"{name}: line 1 has more than")


def test_a_record_of_many_lines_has_one(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("a,b\n" + '"x\n",' * 500 + "2\n")
    told = problem(path)
    assert told.startswith("a.csv can't be read from line 2 on: record larger than field limit (1000)")


def test_a_json_document_has_one_and_lines_by_its_name_do_not(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps([{"a": "x" * 100}] * 20))
    assert problem(path) == "a.json is one JSON document of more than 1,000 characters: write it as JSONL"
    path.write_text(line(200) * 20)
    assert len(rows(path)) == 20


@pytest.mark.parametrize("is_repeated", [True, False])
def test_a_parquet_cell_has_one(tmp_path: Path, is_repeated: bool) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path / "a.parquet"
    table = {"fine": ["x"] * 600, "a": ["y" * SMALL] * 600, "n": list(range(600))}
    pq.write_table(pa.table(table), path, use_dictionary=is_repeated)
    assert [row["n"] for row in rows(path)] == list(range(600))
    table["a"][300] = "y" * (SMALL + 1)
    pq.write_table(pa.table(table), path, use_dictionary=is_repeated)
    assert "column 'a' has a cell of 1,001 bytes in row" in problem(path)


def test_a_byte_that_is_none_of_utf_8_is_found_without_holding_its_line(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    for before, place in (("", 1), ("é" * 700_001, 1), ("a\rb\n\r", 4), ("é\n" * 60_000, 60_001)):
        text = before.encode()
        path.write_bytes(text + b"\xff")
        assert f"byte 0xFF at offset {len(text)} (line {place})" in told_wrong(path)
    path.write_bytes(b"a\n\xc3")
    assert "byte 0xC3 at offset 2 (line 2)" in told_wrong(path), "cut in the middle of a letter"


def told_wrong(path: Path) -> str:
    with pytest.raises(PlanError) as error:
        list(read_rows(File(path.name, path, "jsonl")))
    return str(error.value)


BOMB = """
import resource, sys
from pathlib import Path
resource.setrlimit(resource.RLIMIT_DATA, (int(sys.argv[3]), int(sys.argv[3])))
from fieval_tasks.core.errors import PlanError
from fieval_tasks.data.files import File
from fieval_tasks.data.records import read_rows
path = Path(sys.argv[1])
try:
    print(sum(1 for _ in read_rows(File(path.name, path, sys.argv[2], longest=2**22))))
except PlanError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux holds a process to this limit")
@pytest.mark.parametrize("kind", ["jsonl", "csv", "tsv", "json"])
def test_a_gzip_of_one_line_is_refused_within_256_mib(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"a.{kind}.gz"
    path.write_bytes(gzip.compress(b"x" * 2**20) * 512)  # files of gzip one after another are one
    done = subprocess.run(
        [sys.executable, "-c", BOMB, str(path), kind, str(2**28)], capture_output=True, text=True, check=True
    )
    assert "more than 4,194,304 characters" in done.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux holds a process to this limit")
@pytest.mark.parametrize("is_listed", [False, True])
def test_a_parquet_of_one_cell_many_times_is_read_a_few_at_a_time(tmp_path: Path, is_listed: bool) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path / "a.parquet"
    cell = pa.DictionaryArray.from_arrays(pa.array([0] * 1_000, pa.int32()), pa.array(["x" * 2**21]))
    lists = pa.ListArray.from_arrays(pa.array(range(1_001), pa.int32()), cell)
    pq.write_table(pa.table({"a": lists if is_listed else cell}), path)
    done = subprocess.run(
        [sys.executable, "-c", BOMB, str(path), "parquet", str(2**29)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "1000", "2 GB in all, within 512 MiB"
