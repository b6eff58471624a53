"""The report as pages that people read: report.html and report.md, drawn from the templates beside this file."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable
from functools import cache
from typing import Any
from urllib.parse import quote, urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from fieval_tasks.core.errors import ExitCode
from fieval_tasks.report import plots, words
from fieval_tasks.report.caps import CAPS, Caps
from fieval_tasks.report.deciding import deciding
from fieval_tasks.report.differences import NO_ANSWER, told, verdict_of
from fieval_tasks.report.endings import headline
from fieval_tasks.report.record import value_text
from fieval_tasks.report.summary import Report
from fieval_tasks.report.text import (
    NONE,
    between,
    clean,
    clip,
    count,
    duration,
    moment,
    one_line,
    plain_json,
    share,
    shown_text,
)

# Characters of a text for which a template names no other limit: enough for any name.
_LINE = 200
_SAID = ("standing", "requests", "cost", "doubled", "amendment", "belief", "held")
_PLOTS = (plots.histogram, plots.throughput, plots.evaluation_times, plots.took)


def html(report: Report) -> str:
    """One file that needs nothing else, and runs nothing but its own script."""
    pages = environment(html_line, html_command)
    assert pages.loader is not None
    style, script = (pages.loader.get_source(pages, name)[0] for name in ("report.css", "report.js"))
    # Their own hashes stand in for 'unsafe-inline': injected markup could bring neither script nor style.
    sources = {
        "style": Markup(style),
        "style_hash": _hash(style),
        "script": Markup(script),
        "script_hash": _hash(script),
    }
    rows = report.page.as_rows()  # first, since it may have to shorten or leave out some more, of which the page tells
    return pages.get_template("report.html.j2").render(report=report, rows=inert_json(rows), caps=CAPS, **sources)


def _hash(source: str) -> Markup:
    return Markup(base64.b64encode(hashlib.sha256(source.encode()).digest()).decode())


def inert_json(value: Any) -> Markup:
    """JSON that ends no script element."""
    return Markup(plain_json(value, separators=(",", ":")).replace("<", "\\u003c"))


def markdown(report: Report, *, caps: Caps = CAPS) -> str:
    """GitHub-flavoured Markdown: a job summary, a pull-request comment, a Prefect artifact."""
    page = environment(inert, fenced).get_template("report.md.j2")
    return page.render(report=report, caps=caps, worst=caps.worst_in_markdown)


@cache
def environment(line: Callable[..., str], command: Callable[[str], str]) -> Environment:
    """Templates in which every text is passed through `line`, even where a template forgets to."""

    def written(value: Any, limit: int = _LINE) -> Any:
        if value is None:
            return NONE
        return Markup(line(value, limit)) if isinstance(value, str) and not isinstance(value, Markup) else value

    pages = Environment(
        loader=PackageLoader("fieval_tasks.report"),
        autoescape=True,
        finalize=written,
        undefined=StrictUndefined,  # a name that is not there is a fault, not an empty place on the page
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    pages.filters |= {
        "line": written,
        "plain": plain,
        "folded": folded,
        "command": lambda text: Markup(command(text)),
        "number": "{:,}".format,
        "value_text": value_text,
    }
    pages.filters |= {done.__name__: done for done in (share, between, count, duration, moment, inert_json)}
    pages.globals |= {
        "verdict_of": verdict_of,
        "told": told,
        "NO_ANSWER": NO_ANSWER,
        "ExitCode": ExitCode,
        **{name: getattr(words, name) for name in _SAID},
        **{made.__name__: made for made in (view, headline, deciding, *_PLOTS)},
        "SHARES": plots.SHARES,
    }
    return pages


def view(**chosen: str | int | None) -> Markup:
    """`#check=tone&verdict=failed`: an address of report.html's list, by what its rows have in common.

    Keys: check, verdict, segment (COLUMN:VALUE), group (its number), change, q (a text to search for), sort, and item with
    `of`, its check. Those without a value are left out.
    """
    said = {key: shown_text(str(value)) for key, value in chosen.items() if value is not None}
    return Markup("#" + urlencode(said, quote_via=quote, safe="").replace("&", "&amp;"))


def plain(text: str, *, apart: bool = False) -> Markup:
    """One line of a text that stands alone in its element."""
    return escape(one_line(text, _LINE, apart=apart))


def html_line(text: str, limit: int) -> str:
    """One line of HTML: whichever way the text reads, what stands around it reads its own."""
    shown = escape(one_line(text, limit, apart=True))
    return shown if shown.isascii() else f"<bdi>{shown}</bdi>"


def folded(text: str, caps: Caps) -> Markup:
    """A text in its own lines, for an element that keeps its direction to itself; a long one folded behind its beginning."""
    whole = clean(text[: caps.long_text + 1], apart=True).strip()
    if len(whole) <= caps.short_text:
        return escape(whole)
    beginning = one_line(whole, caps.short_text, apart=True)
    return Markup("<details><summary>{}</summary>{}</details>").format(beginning, clip(whole, caps.long_text))


def html_command(command: str) -> str:
    return f"<pre>{escape(clean(command))}</pre>"


# A space of no width, as the character: what is joined on both sides of it is no address, mention, issue or emoji to those
# who look for these in the text. Prefect's older UI shows the numbers of entities as they are written.
BREAK = "\u200b"
_WRITTEN = {
    **{"&": "&amp;", "<": "&lt;", ">": "&gt;"},
    **{":": f":{BREAK}", ".": f"{BREAK}.", "@": f"\\@{BREAK}", "#": f"\\#{BREAK}", "-": f"-{BREAK}"},
}
_EMOJI = r":(?=(?:[+-]1|100|1234|[\w-]*[a-z][\w-]*):)"
_SPECIAL = re.compile(rf"[\\`*_\[\]~$^]|(?<=www)\.|[&<>|@#]|:(?=//)|(?<=\bGH)-(?=\d)|{_EMOJI}", re.IGNORECASE)
# Where a line would begin a list or a rule.
_BEGIN = re.compile(r"^(?:(?=[-+=])|(\d{1,9})(?=[.)](?:\s|$)))")


def inert(text: str, limit: int = _LINE) -> str:
    """The text on one line, saying nothing to a Markdown reader: no markup, no HTML, no cell border, no link.

    GitHub and both of Prefect's UIs show it as it was.
    """
    written = _SPECIAL.sub(lambda found: _WRITTEN.get(found[0], "\\" + found[0]), one_line(text, limit))
    return _BEGIN.sub(r"\1\\", written)


def fenced(command: str) -> str:
    """The command as a code block that its own backticks can't close."""
    text = clean(command)
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return f"{fence}sh\n{text}\n{fence}"
