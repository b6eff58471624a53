"""The message for a text that is not UTF-8: the first bad byte, and the encoding that it seems to be."""

from __future__ import annotations

import io
import re
from collections import Counter
from shlex import quote

from fieval_tasks.data.files import File

_BLOCK = 2**20
# What Python's `surrogateescape` makes of a byte that is not UTF-8: no valid text decodes to it.
_NOT_UTF8 = re.compile("[\udc80-\udcff]")
# The euro, quotes, dots, bullet, dashes and trade mark of CP1252, where Latin-1 has control characters.
_PUNCTUATION = frozenset(b"\x80\x82\x84\x85\x91\x92\x93\x94\x95\x96\x97\x99")


def complaint(file: File, error: UnicodeError) -> str:
    """The message for a file that could not be decoded: the first bad byte, its place, and the command that converts it."""
    encoding = file.encoding()
    if encoding not in ("utf-8", "utf-8-sig"):
        return f"{file.name} is not whole {encoding.upper()} text ({error}); save it as UTF-8"
    offset, line, byte = _first_bad_byte(file)
    place = f"{file.name} is not UTF-8: byte 0x{byte:02X} at offset {offset} (line {line})"
    shown = quote(file.name)
    if _looks_like_cp1252(file):
        step = f"iconv -f CP1252 -t UTF-8 {shown} > {quote(f'new-{file.name}')}"
        return f"{place}; its bytes look like CP1252, Windows's Western text: {step}"
    step = f"iconv -f ENCODING -t UTF-8 {shown}"
    return f"{place}; save it as UTF-8 where it was written, or, once you know its encoding: {step}"


def _first_bad_byte(file: File) -> tuple[int, int, int]:
    """The first byte that is not UTF-8: its offset in the (unzipped) file, its line from 1, and its value."""
    offset, line = 0, 1
    with io.TextIOWrapper(file.open(), "utf-8", errors="surrogateescape", newline="") as text:
        while part := text.readline(_BLOCK):
            bad = _NOT_UTF8.search(part)
            offset += len(part[: bad and bad.start()].encode())
            if bad is not None:
                return offset, line, ord(bad[0]) - 0xDC00
            line += part.endswith(("\n", "\r"))
    raise AssertionError("the file changed while it was read")


def _looks_like_cp1252(file: File) -> bool:
    """Whether the file has CP1252's punctuation in the range that Latin-1 leaves to control characters, and few accented
    letters: Cyrillic and Greek code pages have the same punctuation, but hardly any ASCII letters.
    """
    counts: Counter[int] = Counter()
    with file.open() as stream:
        while block := stream.read(_BLOCK):
            counts.update(block)
    telling = {byte for byte in counts if 0x80 <= byte < 0xA0}
    accented = sum(n for byte, n in counts.items() if byte >= 0xC0)
    letters = sum(n for byte, n in counts.items() if chr(byte).isascii() and chr(byte).isalpha())
    return bool(telling) and telling <= _PUNCTUATION and accented * 3 < letters
