"""How much of a run a report shows, and how much of it is held at once."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Caps:
    """Whoever wants more finds it in results.jsonl, which holds everything."""

    worst: int = 20
    """Rows of each check kept as its worst: more than anybody reads before opening the results."""
    worst_in_markdown: int = 5
    """Of those in report.md, which is a comment on a pull request, too."""
    rows_open: int = 3
    """Of those that report.html shows unfolded."""
    first_rows: int = 5
    """Row numbers named of a group of failures, and of what is pending."""
    lost_named: int = 20
    """Items named of which a reply was lost."""
    choices_counted: int = 50
    """Different choices counted by name: free text in place of a choice must not fill the memory."""
    choices_shown: int = 10
    bins: int = 10
    """Bars of a histogram of the scores from 0 to 1."""
    short_text: int = 180
    """Characters, about two lines of report.html; longer texts are folded."""
    long_text: int = 600
    """Characters, about what a screen of a phone shows; longer texts are cut."""
    junit_text: int = 4_000
    """Characters: CI systems cut longer messages, or refuse the file."""
    batch: int = 5_000
    """Results held at once while they are written,"""
    batch_text: int = 16 * 2**20
    """or fewer, once their inputs come to so many characters."""


CAPS = Caps()
