"""Whatever rows, ids, names and answers hold, every output shows it and none obeys it."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from tempfile import TemporaryDirectory
from xml.etree import ElementTree

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from fieval_tasks.core.errors import PlanError
from fieval_tasks.core.plan import EvaluationPlan
from fieval_tasks.on_prefect.artifacts import check_key, failures_table, key
from fieval_tasks.report.artifact_pages import check_page, run_page
from fieval_tasks.report.columns import CELL_LIMIT, Columns, inert_cell
from fieval_tasks.report.pages import markdown
from fieval_tasks.report.past_runs import PastRun, PastRuns
from fieval_tasks.report.record import record
from fieval_tasks.report.table import table
from fieval_tasks.report.text import clean, one_line
from fieval_tasks.terminal.door import say
from tests.security.hostile_runs import MARK, START, TEXTS, Written, facts, report_of, results, written

FILES = {
    *("results.jsonl", "results.csv", "results.parquet", "summary.json"),
    *("report.html", "report.md", "junit.xml"),
}
TO_READ = sorted(FILES - {"results.parquet"})
STEERS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff\ufeff]"
)
"""What no terminal, editor or log viewer is to be given. (A CSV file's own line ends are \\r\\n.)"""

ANY_TEXT = st.lists(st.one_of(st.sampled_from(sorted(TEXTS.values(), key=len)[:40]), st.text(st.characters())))
"""Several hostile texts and any others, run together."""


@pytest.fixture(params=TEXTS.values(), ids=TEXTS.keys(), scope="module")
def text(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def run(text: str, tmp_path_factory: pytest.TempPathFactory) -> Written:
    return written(text, tmp_path_factory.mktemp("outside") / "inside" / "run")


# -- all of them ---------------------------------------------------------------------------------------------------


def test_no_name_in_the_data_becomes_a_path(run: Written) -> None:
    outside = run.folder.parent.parent
    assert {path.relative_to(run.folder).as_posix() for path in outside.rglob("*") if path.is_file()} == FILES


@pytest.mark.parametrize("name", TO_READ)
def test_no_file_steers_what_shows_it(run: Written, name: str) -> None:
    assert not steering_in(run, name)


def steering_in(run: Written, name: str) -> list[str]:
    """Characters that would steer what shows the file. Those of languages do not where each text is kept apart."""
    text = (run.folder / name).read_bytes().decode().replace("\r\n", "\n")
    found = STEERS.findall(text.removeprefix("\ufeff") if name == "results.csv" else text)
    is_apart = name in ("results.csv", "report.html")
    return [one for one in found if not is_apart or clean(one, apart=True) != one]


@given(ANY_TEXT)
def test_any_text_at_all_leaves_every_file_sound(parts: list[str]) -> None:
    text = "".join([*parts, MARK])
    with TemporaryDirectory() as folder:
        run = written(text, Path(folder))
        for name in TO_READ:
            assert not steering_in(run, name), name
        assert_html_is_inert(run)
        assert_junit_is_sound(run)
        assert_json_is_faithful(run, text)
        assert_csv_is_inert(run, text)
        assert_markdown_is_inert(markdown(run.report))


@pytest.mark.parametrize("name", ["..", "../x", "a/b", "a\\b", "/tmp/x", ".hidden", "a\0b", "a\nb", "a;b", "x" * 81])
def test_a_run_name_is_never_a_path(name: str) -> None:
    with pytest.raises(PlanError):
        EvaluationPlan(run=name)


# -- report.html ---------------------------------------------------------------------------------------------------


def test_html_has_no_tag_attribute_or_address_from_data(run: Written) -> None:
    assert_html_is_inert(run)


def test_a_page_keeps_each_texts_direction_to_itself(run: Written) -> None:
    assert Directions((run.folder / "report.html").read_text(encoding="utf-8")).loose == []


class Directions(HTMLParser):
    """Texts of a page that would turn what stands around them."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.loose: list[str] = []
        self._open: list[bool] = []
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "img", "br"):
            self._open.append(tag == "bdi" or ("dir", "auto") in attrs)

    def handle_endtag(self, tag: str) -> None:
        self._open.pop()

    def handle_data(self, data: str) -> None:
        if STEERS.search(data.replace("\n", "")) and not any(self._open):
            self.loose.append(data)


class Page(HTMLParser):
    """What of a page is text, and what is not."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.rest: list[str] = []
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.rest += [tag, *(f"{name}={value}" for name, value in attrs)]

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def handle_comment(self, data: str) -> None:
        self.rest.append(data)

    def handle_decl(self, decl: str) -> None:
        self.rest.append(decl)

    def handle_pi(self, data: str) -> None:
        self.rest.append(data)

    def unknown_decl(self, data: str) -> None:
        self.rest.append(data)


LEADS_INSIDE = re.compile(r"href=#[\w.~%=&-]*", re.ASCII)
"""A link to a view of the page itself, with nothing in it that a page or a browser could take for anything else."""


def assert_html_is_inert(run: Written) -> None:
    page = Page(run.text("report.html"))
    assert MARK in "".join(page.words)
    assert page.rest.count("script") == 3  # two of data, and the page's own
    foreign = [piece for piece in page.rest if not LEADS_INSIDE.fullmatch(piece)]
    assert not [piece for piece in foreign if MARK in piece]
    assert not [piece for piece in foreign if re.match(r"(href|src|action|style|on\w+)=|img$|iframe$", piece)]


# -- Markdown: the file and the artifacts --------------------------------------------------------------------------

READER = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
LINKED_AS_WRITTEN = re.compile(r"https?://|www\.", re.IGNORECASE)
LINKED_AS_READ = re.compile(r"\w@[\w-]+\.\w|(?<!\w)@\w|#\d")
"""What GitHub links in the text that comes out of the parser: mail addresses, mentions, issues."""
OF_GITHUB = re.compile(r"\bGH-\d|:[\w-]*[a-z][\w-]*:|:[+-]1:", re.IGNORECASE)
"""What it makes issues and emoji of there."""


def test_markdown_is_text_only(run: Written) -> None:
    assert_markdown_is_inert(run.text("report.md"))


def test_the_artifacts_pages_fold_and_draw_and_leave_every_text_of_the_data_a_text(text: str) -> None:
    report = replace(report_of(text), gates=())
    runs = [PastRun(text, START, 0.9, None, 1), PastRun(text, START, 0.8, None, 1, changed=text)]
    past = PastRuns("pass rate", runs)
    for page in (run_page(report, {text: past}), check_page(report, text, past)):
        of_html = [*children(page, "html_inline"), *(line for block in blocks(page) for line in block.splitlines())]
        assert all(re.fullmatch(r"<br>|<details><summary>[^<>]*</summary>|</details>", line) for line in of_html)
        assert not {"link_open", "image", "code_block", "hr"} & set(kinds(page))
        assert not LINKED_AS_READ.search("\n".join(children(page, "text", "text_special")))
        assert not any(MARK in token.content for token in READER.parse(page) if token.info == "mermaid")
        assert not STEERS.search(page.replace("\n", ""))
        assert not any(LINKED_AS_WRITTEN.search(line) for line in of_html)


def blocks(source: str) -> list[str]:
    return [token.content for token in READER.parse(source) if token.type == "html_block"]


STYLE = {f"{kind}_{end}" for kind in ("em", "strong", "s") for end in ("open", "close")} | {"code_inline"}
LINES = {"paragraph_open", "inline", "paragraph_close", "text", "text_special"}


def test_a_table_artifact_is_the_text_itself_and_makes_nothing_but_style_of_it_in_the_ui_that_reads_markdown(
    text: str,
) -> None:
    rows = failures_table(report_of(text))
    assert rows
    for cell in (cell for row in rows for cell in row.values()):
        assert set(kinds(cell)) <= LINES | STYLE, cell
        assert not STEERS.search(cell)
        assert not LINKED_AS_WRITTEN.search(cell)
        assert not LINKED_AS_READ.search(cell.replace("#", ""))  # Prefect knows no issues
    inputs = next(row[name] for row in rows for name in row if name.startswith("input: ") and MARK in row[name])
    assert inputs.replace("\u200b", "") == one_line(text, 300)


def test_an_artifact_key_is_a_slug_of_its_own(text: str) -> None:
    assert re.fullmatch(r"[a-z0-9-]{1,120}", key(text, "summary"))
    assert key(f"日{text}", "summary") != key(f"本{text}", "summary")
    assert key("data/answers.csv", "summary") == "fieval-data-answers-csv-summary"
    assert re.fullmatch(r"[a-z0-9-]{1,130}", check_key(text, text))
    assert check_key("data/answers.csv", "context_adherence") == "fieval-data-answers-csv--context-adherence"
    assert len({check_key("a.csv", name) for name in ("a_b", "a-b", "A_b", "a__b", "a_" + "b" * 58)}) == 5
    assert check_key(text, f"日{text}") != check_key(text, f"本{text}")


def assert_markdown_is_inert(source: str) -> None:
    foreign = {"link_open", "image", "html_block", "code_inline", "em_open", "s_open", "code_block", "hr", "list_open"}
    assert not foreign & set(kinds(source))
    assert set(children(source, "html_inline")) <= {"<br>"}
    assert not LINKED_AS_READ.search("\n".join(children(source, "text", "text_special")))
    assert not OF_GITHUB.search("\n".join(children(source, "text", "text_special")))
    outside_fences = [token.content for token in READER.parse(source) if token.type == "inline"]
    assert not LINKED_AS_WRITTEN.search("\n".join(outside_fences))
    assert not [line for line in headings(source)[1:] if MARK in line]  # the first one names the run


def kinds(source: str) -> list[str]:
    tokens = READER.parse(source)
    return [token.type for token in tokens] + [child.type for token in tokens for child in token.children or ()]


def children(source: str, *kinds: str) -> list[str]:
    """The contents of such pieces inside of lines."""
    tokens = READER.parse(source)
    return [child.content for token in tokens for child in token.children or () if child.type in kinds]


def headings(source: str) -> list[str]:
    tokens = READER.parse(source)
    return [tokens[place + 1].content for place, token in enumerate(tokens) if token.type == "heading_open"]


# -- junit.xml -----------------------------------------------------------------------------------------------------


def test_junit_is_xml_of_known_elements(run: Written) -> None:
    assert_junit_is_sound(run)


def assert_junit_is_sound(run: Written) -> None:
    root = ElementTree.fromstring(run.text("junit.xml"))
    assert "[[ATTACHMENT|" not in "".join(root.itertext())
    known = {"testsuites", "testsuite", "testcase", "system-out", "failure", "error", "skipped"}
    assert {node.tag for node in root.iter()} <= known
    assert len(list(root.iter("testcase"))) == 6
    assert {name for node in root.iter() for name in node.keys()} <= {  # noqa: SIM118 - an Element is no dict
        *("name", "classname", "time", "timestamp", "tests", "failures", "errors", "skipped", "type", "message"),
    }


# -- results.jsonl, summary.json, results.parquet: faithful --------------------------------------------------------


def test_json_files_hold_the_text_itself(run: Written, text: str) -> None:
    assert_json_is_faithful(run, text)


def assert_json_is_faithful(run: Written, text: str) -> None:
    lines = run.text("results.jsonl").splitlines()
    assert [json.loads(line) for line in lines] == [record(result) for result in results(text)]
    told = json.loads(run.text("summary.json"))
    assert text in told["amendments"][0]["after"]["checks"]
    assert [told[name] for name in ("run_id", "dataset", "connection", "flow_run_id")] == [text] * 4
    assert [gate["gate"] for gate in told["gates"]] == [text]
    assert next(iter(told["checks"])) == text


def test_parquet_holds_the_text_itself(run: Written, text: str) -> None:
    table = pq.read_table(run.folder / "results.parquet")
    whole = text.encode("utf-8", "replace").decode()  # half an emoji can't be UTF-8
    for name in ("item_id", "check", "template", "model", "eval_id"):
        assert table[name][0].as_py() == whole
    assert table["reason"][0].as_py() == whole


# -- results.csv ---------------------------------------------------------------------------------------------------

PLAIN_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
CELL_BORDERS = {"comma": ",", "semicolon": ";", "tab": "\t"}


def test_csv_is_inert_and_readable(run: Written, text: str) -> None:
    assert_csv_is_inert(run, text)


def assert_csv_is_inert(run: Written, text: str) -> None:
    with (run.folder / "results.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    columns = [inert_cell(name) for name in Columns.from_facts(facts(text)).kinds]
    assert [list(row) for row in rows] == [columns] * 6
    assert {row[columns[-1]] for row in rows} == {inert_cell(text)}
    assert {unquoted(row["item_id"]) for row in rows} == {shown(text)}
    assert [row["score"] for row in rows] == ["0.0", "", "", "", "0.25", "0.5"]
    for border in CELL_BORDERS.values():
        for cell in cells(run.text("results.csv"), border):
            assert len(cell) < 32_767 or border != ","
            assert not runs_something(cell, at_start=border == ","), cell[:80]


def cells(source: str, border: str) -> Iterator[str]:
    """The file as a spreadsheet splits it that was told, or takes for granted, another border than the comma."""
    if border == ",":
        yield from (cell for row in csv.reader(io.StringIO(source, newline="")) for cell in row)
    else:
        yield from re.split(rf"[{border}\r\n]", source)


def runs_something(cell: str, *, at_start: bool) -> bool:
    """A spreadsheet takes the cell for a formula that calls something (or, in a cell of our own, for any formula)."""
    sign = r"[\s\"]*[=+\-@\uff1d\uff0b\uff0d\uff20]"
    if not re.match(sign, cell) or PLAIN_NUMBER.fullmatch(cell):
        return False
    is_broken = re.match(
        rf"{sign}[^\"]*[^\s\-+*/^&=<>,({{\[:@\"'\uff1d\uff0b\uff0d\uff20]\"", cell
    )  # a text after an operand
    # outside of parentheses, braces and quotes a comma is no operator: what no spreadsheet can read stays a text
    before = rf"{sign}(?:\"[^\"]*\"|[^\"'({{])*"
    is_broken = is_broken or re.match(rf"{before},", cell)
    is_broken = is_broken or re.match(rf"{before}\"[^\"]*\"['\w]", cell)  # an operand after a text
    return at_start or bool(re.search(r"[(|!]", cell) and not is_broken)


def test_a_text_and_the_next_column_are_no_formula_together() -> None:
    """A comma stands between them, perhaps behind a text of the formula's own."""
    behind = '&zq7(1)&"\n=1&'
    for parts in (
        [" \xa0=1+f(1)", "\t@"],
        [behind, '", "zq7": {"x": NaN}\\u0022'],
        [behind, "\"'> onmouseover='zq7' x=\"zq7"],
    ):
        test_any_text_at_all_leaves_every_file_sound.hypothesis.inner_test(parts)  # type: ignore[attr-defined]
    assert runs_something('=1&"a,b"&f(1)', at_start=False)
    assert runs_something('=1&"a"&f(1)', at_start=False)


def shown(text: str) -> str:
    """What the CSV file promises to hold of a text."""
    whole = clean(text, apart=True)
    return whole if len(whole) <= CELL_LIMIT else whole[: CELL_LIMIT - 1].rstrip() + "…"


def unquoted(cell: str) -> str:
    """A CSV text as it was before the apostrophes: how a program reads the file."""
    sign = r"'*(?:\"|[^\S\t\n])*[=+\-@\uff1d\uff0b\uff0d\uff20]"
    begins = r"'*[^\S\t\n]*(?:[\t\n]|[=+\-@\uff1d\uff0b\uff0d\uff20])"
    own = [rf"^'(?={begins})"]
    for border, within in ((";", r"[^;\t\n]"), (r"\t\n", r"[^\t\n]")):
        calls = rf"""(?:{within}*[(|!]|(?:{within}*[-+*/^&=<>,{{\[:@"'\s])?\Z)"""
        own.append(rf"(?<=[{border}])'(?={sign}{calls})")
    return re.sub("|".join(own), "", cell)


@given(st.text(st.one_of(st.sampled_from("=+-@'\"; \t\n(|!\uff1d1."), st.characters()), max_size=20))
def test_a_program_gets_a_csv_text_back(text: str) -> None:
    assert unquoted(inert_cell(text)) == clean(text, apart=True)


@pytest.mark.parametrize(
    "mark",
    "\u061c\u200b\u200c\u200e\u200f\u2028\u202a\u202b\u202c\u202d\u202e\u2060\u2066\u2067\u2068\u2069\ufeff\U000e0067",
)
def test_an_id_comes_out_of_the_csv_file_as_it_went_in(mark: str, tmp_path: Path) -> None:
    text = f"{mark}a{mark}-1{mark}"
    run = written(text, tmp_path / "run")
    with (run.folder / "results.csv").open(encoding="utf-8-sig", newline="") as file:
        assert next(csv.DictReader(file))["item_id"] == text


@pytest.mark.parametrize(
    "kept",
    [
        *("-1", "-1.5", "+2", "+2.5", "1e-7", "-1e-7", "-.5", "0.3", "12"),
        *("It is good:\n- short\n- true; - and kind", "a=b", "x;y", "it's", "", "2-1"),
    ],
)
def test_numbers_and_lists_stay_as_they_are(kept: str) -> None:
    assert inert_cell(kept) == kept


def test_a_formula_after_a_new_line_may_have_a_semicolon_in_it() -> None:
    assert inert_cell("x\n='a;b'!A1&f(1); =2") == "x\n'='a;b'!A1&f(1); =2"


# -- the terminal and the log --------------------------------------------------------------------------------------------------


def test_the_table_in_the_terminal_steers_nothing(text: str) -> None:
    drawn = table(report_of(text))
    assert not STEERS.search(drawn)


def test_what_is_said_in_the_terminal_steers_nothing(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    say(text)
    assert not STEERS.search(capsys.readouterr().err)
