"""Links inside of report.html: to its list of rows, filtered, and to one item in it."""

from __future__ import annotations

from urllib.parse import quote, urlencode

from markupsafe import Markup

from fieval_tasks.report.text import clean


def shown_text(text: str) -> str:
    """The text as the page shows it and as its links name it: with a sign for what is no text, and in its own lines."""
    return clean(text, apart=True)


def view(**chosen: str | int | None) -> Markup:
    """`#check=tone&verdict=failed`: an address of the list, by what its rows have in common.

    Keys: check, verdict, segment (COLUMN:VALUE), group (its number), change, q (a text to search for), sort, and item with
    `of`, its check. Those without a value are left out.
    """
    said = {key: shown_text(str(value)) for key, value in chosen.items() if value is not None}
    return Markup("#" + urlencode(said, quote_via=quote, safe="").replace("&", "&amp;"))
