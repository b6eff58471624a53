"""CSV and TSV as people have them: delimiters, quotes, and what breaks their rules."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieval_tasks.core.errors import PlanError
from fieval_tasks.data.dataset import read_dataset
from fieval_tasks.data.delimited import Style, delimited_rows, style_of
from fieval_tasks.data.files import File

SPIDERS = [{"id": "1", "question": "How many legs, has a spider?", "answer": "Eight; it has eight."}]


@pytest.fixture
def file(tmp_path: Path):  # type: ignore[no-untyped-def]
    def file(text: str | bytes, name: str = "answers.csv") -> File:
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return File(name, path, name.rpartition(".")[2])

    return file


def read(file: File) -> list[dict[str, object]]:
    rows = list(delimited_rows(file))
    assert [row.problem for row in rows] == [None] * len(rows)
    return [dict(row.values) for row in rows]


@pytest.mark.parametrize(
    ("text", "style"),
    [
        ("id,question,answer\n", Style(",")),
        ("id;question;answer\n", Style(";")),
        ("id\tquestion\tanswer\n", Style("\t")),
        ("id|question|answer\n", Style("|")),
        ("answer\n", Style(",")),
        ("sep=;\r\nid;question;answer\r\n", Style(";", above=1)),
        ("SEP=|\nid|question|answer\n", Style("|", above=1)),
        ("sep=\t\nid\tquestion\tanswer\n", Style("\t", above=1)),
        ('"a, or b";question;answer\n1;2;3\n', Style(";")),
        ("Nr|question, in short, or not|answer\n1|2|3\n", Style("|")),  # as many commas, and only bars fit the rows
        ("id;question, short;answer, if any\n1;2;3\n4;5;6\n", Style(";")),
        ("id,question;answer\n1,2;3\n4,5\n", Style(",")),
        ('"sep=;"\nid;answer\n', Style(";", above=1)),
        ('"two\nlines";answer\n1;2\n', Style(";")),
    ],
)
def test_the_delimiter_is_the_one_that_the_file_names_or_its_header_and_rows_fit(file, text: str, style: Style) -> None:  # type: ignore[no-untyped-def]
    assert style_of(file(text)) == style


@pytest.mark.parametrize(
    "text", ["a,b;c,d\n1,2;3,4\n", "price;a,b\n1,5;x\n2,5;y\n", "id;question, short;answer\n1;2, so;3\n"]
)
def test_of_two_delimiters_that_fit_alike_neither_is_guessed(file, text: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(
        PlanError, match=r"^answers\.csv: commas and semicolons fit its header and its rows alike; say by --del"
    ):
        list(delimited_rows(file(text)))


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ('id,answer\n1, "a, b"\n2, "c"\n3,"d"\n', {1: "line 2 has a blank", 2: "line 3 has a blank"}),
        ('id,answer\n1," ""c"""\n2,so "c"\n', {}),
    ],
)
def test_a_quote_after_a_blank_is_taken_for_no_text(file, text: str, problems: dict[int, str]) -> None:  # type: ignore[no-untyped-def]
    told = {row.number: row.problem for row in delimited_rows(file(text)) if row.problem is not None}
    assert told.keys() == problems.keys()
    assert all(told[number].startswith(problem) for number, problem in problems.items()), told


@pytest.mark.parametrize("name", ["a.csv", "a.tsv"])
def test_a_header_that_is_no_text_is_refused(file, name: str) -> None:  # type: ignore[no-untyped-def]
    for text in ("中文,a\n1,2\n".replace(",", "\t" if name == "a.tsv" else ",").encode("utf-16-le")[2:], b"i\0d\n1\n"):
        with pytest.raises((PlanError, UnicodeError), match=r"NUL characters in its header \(line 1\)|codec"):
            list(delimited_rows(file(text, name)))


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("above", ["", "sep={}\r\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_spreadsheets_export_reads_alike_whatever_parts_its_cells(  # type: ignore[no-untyped-def]
    file, delimiter: str, above: str, encoding: str
) -> None:
    cells = [list(SPIDERS[0]), [f'"{value}"' for value in SPIDERS[0].values()]]
    text = above.format(delimiter) + "\r\n".join(map(delimiter.join, cells)) + "\r\n"
    assert read(file(text.encode(encoding))) == SPIDERS


def test_a_quote_in_tsv_is_a_character(file) -> None:  # type: ignore[no-untyped-def]
    answers = ['"Dune was written by Frank Herbert.', "It came out in 1965.", 'Arrakis is called "Dune"', '"Yes"']
    text = "id\tanswer\n" + "".join(f"{n}\t{answer}\n" for n, answer in enumerate(answers))
    rows = read(file(text, "answers.tsv"))
    assert [row["answer"] for row in rows] == answers


@pytest.mark.parametrize(
    ("text", "broken"),
    [
        ("id,answer\n1,no\r\n2,yes\n", {1: 2}),  # "no" with a return, or a line's end from Windows
        ("id,answer\n1,\r\n2,yes\n", {1: 2}),
        ("answer\none\rtwo\nthree\n", {1: 2, 2: 2}),
        ("id,answer\r\n1,one\r2,two\r\n3,three\r\n", {1: 2, 2: 2}),
    ],
)
@pytest.mark.parametrize("name", ["answers.csv", "answers.tsv"])
def test_a_carriage_return_that_may_be_a_cells_own_is_a_problem(  # type: ignore[no-untyped-def]
    file, name: str, text: str, broken: dict[int, int]
) -> None:
    rows = list(delimited_rows(file(text.replace(",", "\t" if name.endswith("tsv") else ","), name)))
    told = {row.number: row.problem for row in rows if row.problem}
    assert told.keys() == broken.keys()
    for number, line in broken.items():
        assert str(told[number]).startswith(f"line {line} ends in a carriage return, and the first does not")


@pytest.mark.parametrize(
    "text", ['id,answer\n1,"no"\r\n2,"yes"\n', "id,answer\r\n1,no\n2,yes\r\n", "id,answer\r1,no\r2,yes\r"]
)
def test_line_ends_that_can_be_no_cells_own_may_differ(file, text: str) -> None:  # type: ignore[no-untyped-def]
    assert [row["answer"] for row in read(file(text))] == ["no", "yes"]


def test_a_comma_at_the_end_of_a_text_in_the_only_column_is_no_empty_cell(file) -> None:  # type: ignore[no-untyped-def]
    rows = list(delimited_rows(file("answer\nYes,\nNo\n")))
    assert [row.problem for row in rows] == ["line 2 has 2 fields where the header has 1", None]


def test_an_empty_text_in_quotes_is_none_of_two_quotes(file) -> None:  # type: ignore[no-untyped-def]
    rows = read(file('id\tanswer\n1\t""\n2\tyes\n', "answers.tsv"))  # as Spark and polars write it
    assert [row["answer"] for row in rows] == ["", "yes"]


def test_doubled_quotes_tell_where_a_broken_line_fits_neither_way(file) -> None:  # type: ignore[no-untyped-def]
    rows = list(delimited_rows(file('a\tb\tc\n1\t""""\t2\n3\t0\r\t\n', "answers.tsv")))
    assert rows[0].values == {"a": "1", "b": '"', "c": "2"}
    assert all(row.problem for row in rows[1:])


@given(
    rows=st.lists(
        st.lists(st.text(st.characters(codec="utf-8", exclude_characters='\0\t\r\n"')), min_size=2, max_size=2),
        min_size=1,
    )
)
def test_tsv_without_quotes_comes_back(tmp_path_factory: pytest.TempPathFactory, rows: list[list[str]]) -> None:
    path = tmp_path_factory.mktemp("tsv") / "a.tsv"
    path.write_bytes("".join("\t".join(row) + "\n" for row in [["left", "right"], *rows]).encode())
    assert read(File("a.tsv", path, "tsv")) == [{"left": left, "right": right} for left, right in rows]


@pytest.mark.parametrize("text", ['answer\n"one\ntwo"\nthree\n', 'id\tanswer\n1\t"one\ntwo\tthree"\n2\tfour\n'])
def test_tsv_whose_quotes_may_hold_lines_together_is_refused(file, text: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(PlanError, match="has 2 rows where its quotes hold lines together, and 3 where they are text"):
        list(delimited_rows(file(text, "answers.tsv")))


def test_a_line_that_tsv_can_not_hold_is_a_problem(file) -> None:  # type: ignore[no-untyped-def]
    rows = list(delimited_rows(file('id\tanswer\n1\t"a\tb" c\n2\tyes\n', "answers.tsv")))
    assert [row.problem for row in rows] == [
        "line 2 has 3 fields where the header has 2; quotes are text in this TSV file, so that a cell holds no tab or line end: "
        "write CSV for such cells",
        None,
    ]


@pytest.mark.parametrize(
    ("lines", "problems"),
    [
        (['1,"He said \\"hi\\" to me"', "2,fine"], {1: "line 2 escapes a quote by a backslash, as Spark and MySQL do"}),
        (['1,"\\"hi\\""', "2,fine"], {1: "line 2 escapes a quote by a backslash"}),
        (['1,"closed" and on', "2,fine"], {1: "line 2 has text after a closing quote"}),
        (
            ['1,"Dune was written', "2,in 1965", '3,It is "Dune"', '4,"fine"'],
            {1: "line 2 opens a quote that is not closed rightly by line 4"},
        ),
        (['1,say \\"hi\\"', "2,fine"], {1: "line 2 escapes a quote by a backslash"}),
        (["1,two\\", "lines", "2,fine", "3,C:\\"], {1: "line 2 ends in a backslash", 2: "line 3 has 1 fields"}),
        (["1,a comma\\,", "2,spare,"], {1: "line 2 has 3 fields"}),
        (["1,C:\\a\\", "2,D:\\b\\", "3,E:\\"], {}),
        (["a\\,b\\", ",", "2,fine"], {1: "line 2 ends in a backslash", 2: "line 2 ends in a backslash"}),
        (["1,C:\\", "2,fine", '3,"C:\\"', '4,"""C:\\"""'], {}),
        (["1,fine", '2,"""doubled"""', '3,5" pipe', '4,"two\nlines"'], {}),
    ],
)
def test_a_quote_that_breaks_the_rules_costs_its_own_row_only(file, lines: list[str], problems: dict[int, str]) -> None:  # type: ignore[no-untyped-def]
    rows = list(delimited_rows(file("\n".join(["id,answer", *lines, ""]))))
    assert len(rows) == len(lines)
    told = {row.number: row.problem for row in rows if row.problem is not None}
    assert told.keys() == problems.keys()
    assert all(told[number].startswith(problem) for number, problem in problems.items()), told
    assert [row.values["id"] for row in rows if row.problem is None] == [
        line[0] for number, line in enumerate(lines, 1) if number not in problems
    ]


def test_where_backslashes_escape_quotes_other_backslashes_are_spoken_of(file) -> None:  # type: ignore[no-untyped-def]
    (notice,) = read_dataset(str(file('id,answer\n1,"say \\"hi\\""\n2,C:\\\\x\n').path)).notices
    assert notice.startswith("line 2 escapes a quote by a backslash")
    assert notice.endswith("other backslashes may be escapes, too: they are sent as they are")


def test_the_line_of_a_problem_counts_excels_own_first_line(file) -> None:  # type: ignore[no-untyped-def]
    rows = list(delimited_rows(file("sep=;\nid;answer\n1\n2;yes\n")))
    assert [row.problem for row in rows] == ["line 3 has 1 fields where the header has 2", None]


def test_a_header_that_breaks_the_rules_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('"id" x,answer\n1,yes\n')
    with pytest.raises(PlanError, match="has a header that can't be read: line 1 has text after a closing quote"):
        read_dataset(str(path))
