"""The bounds of a report: how much of a run it shows, and how much is held in memory."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Caps:
    """The bounds; results.jsonl always holds everything."""

    # More than anybody reads before opening the results.
    worst: int = 20
    """Rows that are kept as a check's worst."""
    # report.md may be a comment on a pull request.
    worst_in_markdown: int = 5
    """Worst rows in report.md."""
    rows_open: int = 3
    """Worst rows that report.html shows unfolded."""
    first_rows: int = 5
    """Rows that are named for a group of reasons, and for pending items."""
    # compare --json and summary.json hold both answers of each, in memory, too.
    flips_kept: int = 1_000
    """Flipped items of a check that are kept with both answers; all are counted."""
    flips_shown: int = 10
    """Flipped items that report.html and the terminal show of a check."""
    lost_named: int = 20
    """Items with a lost reply that are named."""
    # A judge may answer with free text in place of a choice, which must not fill the memory.
    choices_counted: int = 50
    """Different choices that are counted by name."""
    choices_shown: int = 10
    """Choices that a report shows."""
    bins: int = 10
    """Bars of the histogram of scores from 0 to 1."""
    # About two lines of report.html.
    short_text: int = 180
    """Characters of a text that is not folded."""
    # About what a phone's screen shows.
    long_text: int = 600
    """Characters at which a text is cut."""
    # CI systems cut longer messages, or refuse the file.
    junit_text: int = 4_000
    """Characters of a message in junit.xml."""
    # GitLab refuses a file of 30 MB or more, and 500,000 cases or more: of the shortest ones so many bytes are fewer.
    junit_bytes: int = 28_000_000
    """Bytes of the cases in junit.xml; those that find no room are counted in it."""
    # Past that neither a browser nor a reader is quick with them.
    page_rows: int = 20_000
    """Rows that report.html holds; of more a sample."""
    # With the rest of the page no more than 6 MB, which a mail takes and a phone opens.
    page_bytes: int = 5_500_000
    """Characters that they take there, compressed."""
    page_block_rows: int = 500
    """Rows that are compressed together,"""
    page_block_text: int = 2**20
    """or fewer, once their texts have so many characters."""
    items_named: int = 10
    """Items that are named where they decide a gate."""
    page_failures: int = 50
    """Rows that did not pass, or have no verdict, that report.html shows without its script."""
    # More than anybody reads; those beyond them are counted together.
    reason_groups: int = 100
    """Groups of near-identical reasons of a check, and of its errors of one kind."""
    # GitHub shows no step's summary of more than 1 MiB, nor a comment of more than 65,536 characters.
    github_summary: int = 900 * 1024
    """Bytes of a step's summary, with what other commands wrote to it."""
    github_comment: int = 60 * 1024
    """Bytes of a comment on a pull request."""
    annotations: int = 10
    """Annotations of a kind: GitHub shows no more of a step."""
    groups_open: int = 12
    """Groups that report.html shows unfolded,"""
    groups_shown: int = 60
    """and those that it shows at all."""
    groups_in_artifact: int = 12
    """Groups that report.md and an artifact in Prefect show."""
    # With more of them nobody gets to the failures below.
    charts: int = 5
    """Trends that the artifact of a run draws."""
    segments_shown: int = 50
    """Values of a column that report.html shows as segments."""
    batch: int = 5_000
    """Results that are held while they are written,"""
    # So that the memory does not grow with long inputs.
    batch_text: int = 16 * 2**20
    """or fewer, once their inputs have so many characters."""


CAPS = Caps()
