"""What is on a page, however it is dressed."""

import re
from html.parser import HTMLParser


def cells(html: str, column: str) -> list[str]:
    """The words in each cell of a list's column."""
    found = re.findall(rf'<t[dh] class="[^"]*\bfield-{column}\b[^"]*"[^>]*>(.*?)</t[dh]>', html, re.DOTALL)
    return [words(cell) for cell in found]


def words(html: str) -> str:
    return " ".join(re.sub(r"<[^>]*>", " ", html).split())


def fields(html: str) -> dict[str, str]:
    """What a browser would send of the form fields in it, as nobody has touched them."""
    reader = _Fields()
    reader.feed(html)
    return reader.found


class _Fields(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, str] = {}
        self._area = self._select = ""
        self._templates = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        name, value = given.get("name") or "", given.get("value")
        self._templates += tag == "template"
        if self._templates or "disabled" in given:
            return
        if tag == "input" and (given.get("type") not in ("checkbox", "radio") or "checked" in given):
            self.found[name] = value if value is not None else "on" if "checked" in given else ""
        elif tag == "textarea":
            self._area, self.found[name] = name, ""
        elif tag == "select":
            self._select = name
        elif tag == "option" and self._select and ("selected" in given or self._select not in self.found):
            self.found[self._select] = value or ""

    def handle_endtag(self, tag: str) -> None:
        self._templates -= tag == "template"
        if tag == "textarea" and self._area:
            # A browser drops a newline at the begin, and ends lines as HTTP does.
            text = self.found[self._area]
            self.found[self._area] = text.removeprefix("\n").replace("\r\n", "\n").replace("\n", "\r\n")
            self._area = ""
        if tag == "select":
            self._select = ""

    def handle_data(self, data: str) -> None:
        if self._area:
            self.found[self._area] += data
