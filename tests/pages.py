"""What is on a page, however it is dressed."""

import re


def cells(html: str, column: str) -> list[str]:
    """The words in each cell of a list's column."""
    found = re.findall(rf'<t[dh] class="[^"]*\bfield-{column}\b[^"]*"[^>]*>(.*?)</t[dh]>', html, re.DOTALL)
    return [words(cell) for cell in found]


def words(html: str) -> str:
    return " ".join(re.sub(r"<[^>]*>", " ", html).split())
