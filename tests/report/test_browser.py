"""report.html as Chromium shows it: the list of all rows, and how it is searched, filtered, addressed and left."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from benchmarks import browser as browsers
from benchmarks.browser import WAYS, OpenedReport
from fieval_tasks.decisions.comparison import Terms, compare
from fieval_tasks.report.differences import CheckChange, Comparison, Flip, JudgedAnswer
from fieval_tasks.report.output import write_report, write_results
from tests.decisions.test_comparison import rates
from tests.report.report_examples import HOSTILE, facts, hostile, hostile_facts, judged, scored

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

LINES = "#hits-list li"
COMMAND = "python -m flows.explain amber-otter -- ITEM"
MANY = 300
"""Rows of each check of the plain report: more than are in the page at once."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if browsers.program() is None:
        pytest.skip(str(browsers.NoBrowser.__doc__))
    with browsers.chromium() as one:
        yield one


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of two checks: every tenth answer fails, the first of them for the first time."""
    was, now = (JudgedAnswer(word, float(n), bool(n), why, {"output": "An answer."}) for word, n, why in
                (("Passed", 1, "It was in the source."), ("Failed", 0, "It is in no source.")))  # fmt: skip
    change = CheckChange(compare({"groundedness": rates(9, 1, 0)})["groundedness"], (Flip("s-10", 10, True, now, was),))
    results = [
        *(judged(row, row % 10 != 0, reason=f"Reason {row}.", traits={"lang": "fr" if row % 3 else "de"},
                 inputs={"output": f"Answer {row} of Paris"}) for row in range(1, MANY + 1)),
        *(scored(row, row / MANY, inputs={"output": "Rome"}) for row in range(1, MANY + 1)),
    ]  # fmt: skip
    folder = tmp_path_factory.mktemp("plain")
    comparison = Comparison("amber-otter", "earlier", Terms(), {"groundedness": change})
    report = write_results(facts(explain_command=COMMAND), results, folder, comparison=comparison)
    write_report(report, folder)
    return folder / "report.html"


@pytest.fixture(scope="module")
def poisoned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hostile")
    write_report(write_results(hostile_facts(), hostile(), folder), folder)
    return folder / "report.html"


@pytest.fixture
def opened(browser: Browser, plain: Path) -> Iterator[OpenedReport]:
    one = OpenedReport(browser, plain)
    yield one
    one.close()
    assert not one.complaints


def at(page: Page) -> str:
    """The fragment."""
    return str(page.evaluate("location.hash"))


@pytest.mark.parametrize("way", WAYS)
def test_a_hostile_report_is_complete_asks_for_nothing_and_keeps_nobody_out(
    browser: Browser, poisoned: Path, way: str
) -> None:
    report = OpenedReport(browser, poisoned, way)
    severe = report.severe_findings() if WAYS[way].get("java_script_enabled", True) else []
    page = report.page
    assert page.locator("img, iframe, object, embed, link, [onclick], [onmouseover], [style*=url]").count() == 0
    assert page.locator("h1").is_visible()
    assert page.locator("#list").is_visible() == (way not in ("print", "scripts off"))
    leads = page.evaluate("getComputedStyle(document.querySelector('a[href^=\\'#\\']')).pointerEvents")
    assert leads == ("none" if way == "scripts off" else "auto")  # without scripts there is no list to lead to
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")  # nothing to the side
    report.close()
    assert (report.complaints, severe) == ([], [])


def test_hostile_texts_of_rows_are_shown_as_texts(browser: Browser, poisoned: Path) -> None:
    report = OpenedReport(browser, poisoned)
    page = report.page
    page.set_viewport_size({"width": 1160, "height": 4000})  # so that all of them are near the visible ones
    page.locator(LINES).nth(2 * len(HOSTILE) - 1).wait_for()
    seen = page.locator(f"{LINES} .reason").all_text_contents()
    for text in ("<script>alert(1)</script>", "=HYPERLINK(1)", "**b** _i_", "\ufffd[31mred", "]]> &amp; &#0; &lt;"):
        assert any(text in one for one in seen)
    page.locator(f"{LINES} a").first.click()
    expect(page.locator("#item-facts dd").first).to_be_visible()
    assert page.locator("#item-facts script, #item-facts b").count() == 0
    assert page.evaluate("[...document.querySelectorAll('#item-facts dd')].every(one => one.dir === 'auto')")
    report.close()
    assert not report.complaints


@pytest.mark.parametrize("way", ["desktop", "phone"])
def test_only_the_rows_near_the_visible_ones_are_in_the_page(browser: Browser, plain: Path, way: str) -> None:
    report = OpenedReport(browser, plain, way)
    page = report.page
    assert report.hits == f"{2 * MANY} of {2 * MANY} rows"
    assert page.locator(LINES).count() < 60
    page.locator("#hits-list").evaluate("one => { one.scrollTop = one.scrollHeight; }")
    last = page.locator(f"{LINES}[aria-posinset='{2 * MANY}']")
    last.wait_for()
    ends = "one => [one, one.parentElement].map(part => part.getBoundingClientRect().bottom)"
    assert last.evaluate(ends) == pytest.approx([last.evaluate(ends)[1]] * 2, abs=3)
    assert page.locator(LINES).count() < 60
    assert last.get_attribute("aria-setsize") == str(2 * MANY)
    report.close()


def test_what_is_chosen_stands_in_the_fragment_and_the_back_button_opens_what_was(opened: OpenedReport) -> None:
    page = opened.page
    page.select_option("[name=verdict]", "not passed")
    assert (opened.hits, at(page)) == (f"{MANY // 10} of {2 * MANY} rows", "#verdict=not%20passed")
    page.select_option("[name=segment]", "lang:de")
    assert (opened.hits, at(page)) == (f"{MANY // 30} of {2 * MANY} rows", "#verdict=not%20passed&segment=lang%3Ade")
    assert "(20)" in page.inner_text("[name=segment] option[value='lang:fr']")  # what that choice would show
    page.go_back()
    page.wait_for_url("**#verdict=not%20passed")
    expect(page.locator("#hits")).to_have_text(f"{MANY // 10} of {2 * MANY} rows")
    page.click("text=Clear the filters")
    assert opened.hits == f"{2 * MANY} of {2 * MANY} rows"


def test_on_paper_the_first_failures_are_unfolded_for_nobody_can_open_them_there(opened: OpenedReport) -> None:
    last, worst = (opened.page.locator(f"section{of} > .rest article").last for of in (":not(.worst)", ".worst"))
    assert (last.is_visible(), worst.is_visible()) == (False, False)
    opened.page.emulate_media(media="print")
    assert (last.is_visible(), worst.is_visible()) == (True, False)


def test_a_link_opens_the_same_view_and_the_worst_come_first(browser: Browser, plain: Path) -> None:
    report = OpenedReport(browser, plain, fragment="#check=fluency&q=ROME&sort=score&colour=red")
    page = report.page
    assert report.hits == f"{MANY} of {2 * MANY} rows"
    assert page.locator(f"{LINES} code").all_inner_texts()[:2] == ["s-1", "s-2"]
    assert page.input_value("[name=q]") == "ROME"
    page.fill("[name=q]", "nowhere to be found")
    assert (report.hits, page.locator("#hits-list").is_visible()) == ("No row matches: clear the filters.", False)
    page.emulate_media(media="print")
    assert "showed 0 of 600 rows: check \u2068fluency\u2069, search \u2068nowhere" in page.inner_text("#filter-printed")
    report.close()


@pytest.mark.parametrize("name", ["constructor", "__proto__"])
def test_a_link_with_a_word_that_every_object_of_the_browser_knows_opens_the_list_too(
    browser: Browser, plain: Path, name: str
) -> None:
    report = OpenedReport(browser, plain, fragment=f"#sort={name}")
    assert report.hits == "600 of 600 rows"
    report.page.evaluate(f"location.hash = '#group={name}'")
    report.page.locator("#hits", has_text="No row matches").wait_for()
    assert f"group {name}" in report.page.inner_text("[name=group]")
    report.close()
    assert not report.complaints


def test_an_item_has_an_address_and_shows_both_answers_and_its_command(browser: Browser, plain: Path) -> None:
    report = OpenedReport(browser, plain, fragment="#item=s-10&check=groundedness")
    page = report.page
    told = page.inner_text("#item")
    for text in ("s-10", "regression", "It was in the source.", "Reason 10.", "Answer 10 of Paris", "1.5 s", "de"):
        assert text in told
    names, texts = (page.locator(f"#item-facts {part}").all_inner_texts() for part in ("dt", "dd"))
    place = names.index("output, then")
    assert (names[place + 1], texts[place : place + 2]) == ("output, now", ["An answer.", "Answer 10 of Paris"])
    assert page.inner_text("#item-command") == "python -m flows.explain amber-otter -- s-10"
    assert not report.severe_findings()
    page.keyboard.press("j")
    assert "s-11" in page.inner_text("#item-title")
    page.keyboard.press("Escape")
    page.locator(f"{LINES} a:focus code:text('s-11')").wait_for()
    assert at(page) == "#check=groundedness"
    report.close()
    assert not report.complaints


def test_an_item_that_the_page_does_not_hold_is_explained_by_the_command(browser: Browser, plain: Path) -> None:
    report = OpenedReport(browser, plain, fragment="#item=" + "it%27s%20%24HOME")
    assert "not among the rows" in report.page.inner_text("#item-place")
    assert report.page.inner_text("#item-command").endswith("""-- 'it'"'"'s $HOME'""")
    report.close()


def test_the_list_is_used_without_a_mouse(opened: OpenedReport) -> None:
    page = opened.page
    page.keyboard.press("/")
    page.keyboard.type("answer 30")
    assert opened.hits == f"2 of {2 * MANY} rows"  # 30 and 300
    page.keyboard.press("Enter")
    page.keyboard.press("ArrowDown")
    assert page.locator(f"{LINES} a:focus code").inner_text() == "s-300"
    page.keyboard.press("Enter")  # a link is followed when the browser comes to it
    expect(page.locator("#item-title")).to_have_text("s-300")
    page.keyboard.press("ArrowLeft")
    assert page.inner_text("#item-title") == "s-30"
    page.keyboard.press("Escape")
    expect(page.locator("#item")).to_be_hidden()
    page.keyboard.press("/")
    page.keyboard.press("Escape")
    expect(page.locator("#hits")).to_have_text(f"{2 * MANY} of {2 * MANY} rows")


def test_a_link_of_the_page_opens_its_item_and_has_the_focus_again_when_it_is_closed(opened: OpenedReport) -> None:
    page = opened.page
    link = page.locator("main a[href*='item=s-10&']").first
    link.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#item-title")).to_have_text("s-10")
    page.click("#copy")
    page.locator("#copied:text-matches('Copied|selected')").wait_for()
    page.click("#close")
    expect(link).to_be_focused()


def test_values_with_as_many_rows_are_offered_by_their_names(opened: OpenedReport) -> None:
    options = opened.page.locator("select[name=check] option").evaluate_all("all => all.map(one => one.value)")
    assert options == sorted(options)
    assert len(options) > 2


NO_UNPACKING = "delete window.DecompressionStream"


@pytest.mark.parametrize("trouble", ["no DecompressionStream", "damaged rows"])
def test_rows_that_cannot_be_opened_are_told_of_and_the_rest_is_there(
    browser: Browser, plain: Path, tmp_path: Path, trouble: str
) -> None:
    file = tmp_path / "report.html"
    source = plain.read_text(encoding="utf-8")
    file.write_text(source.replace('"blocks":["H4sI', '"blocks":["AAAA') if trouble == "damaged rows" else source)
    report = OpenedReport(browser, file, first=NO_UNPACKING if trouble != "damaged rows" else "")
    why = "the file is damaged" if trouble == "damaged rows" else "this browser cannot unpack them"
    assert f"can't be opened ({why}" in report.page.inner_text("#list-problem")
    assert not report.page.locator("#list form").is_visible()
    assert report.page.locator("h1").is_visible()
    report.close()
    assert not report.complaints
