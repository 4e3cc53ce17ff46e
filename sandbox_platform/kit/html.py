"""HTML fragments that pages of several apps share. The values may be untrusted: use format_html only."""

from collections.abc import Iterable, Mapping
from datetime import date

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from sandbox_platform.kit.units import format_bytes

# Characters of a text on a page. Browsers become slow with longer texts. The full text can be downloaded.
SHOWN = 100_000
EMPTY_BAR = SafeString('<span class="track"></span>')


def badge(value: str, label: str) -> SafeString:
    return format_html('<span class="status status-{}">{}</span>', value, label)


def note(words: str) -> SafeString:
    return format_html('<span class="note">{}</span>', words)


def text(value: str, download: str = "") -> SafeString:
    """Return the text, or its first part with a link to the URL `download`, which has all of it."""
    if not value:
        return note("empty")
    shown = format_html('<pre class="text" tabindex="0">{}</pre>', value[:SHOWN])
    return format_html("{}{}", shown, cut_note(value, download))


def cut_note(value: str, download: str = "") -> SafeString | str:
    if len(value) <= SHOWN:
        return ""
    size = format_bytes(len(value.encode("utf-8", "surrogatepass")))
    offer = format_html(' <a href="{}">Download all {}</a>', download, size) if download else ""
    return format_html(
        '<p class="note">The first {} of {} characters.{}</p>', f"{SHOWN:,}", f"{len(value):,}", offer
    )


def bar(offset: float, width: float, kind: str = "") -> SafeString:
    offset, width = min(max(offset, 0), 1), min(max(width, 0), 1)
    if not width:
        return EMPTY_BAR
    return format_html(
        '<span class="track"><i class="{}" style="left: {}%; width: {}%"></i></span>',
        kind,
        f"{offset * 100:.1f}",
        f"{width * 100:.1f}",
    )


def days(counts: Mapping[date, int], most: int, *, against_quota: bool) -> SafeString:
    """Return a table of runs per day with bars. `most` is the length of a full bar: the quota, or the busiest day."""
    rows = (
        (
            f"{day:%a %d %b}",
            f"{number:,}",
            bar(0, number / most, "full" if against_quota and number >= most else "") if most else "",
            f"of {most:,}" if against_quota else "",
        )
        for day, number in counts.items()
    )
    body = format_html_join(
        "",
        '<tr><th scope="row">{}</th><td class="number">{}</td><td class="bar">{}</td>'
        '<td class="note">{}</td></tr>',
        rows,
    )
    return format_html('<table class="facts">{}</table>', body)


def pairs(values: Mapping[str, object]) -> SafeString:
    if not values:
        return note("none")
    body = format_html_join("", '<tr><th scope="row">{}</th><td>{}</td></tr>', values.items())
    return format_html('<table class="facts">{}</table>', body)


def files(rows: Iterable[tuple[str, str, int]]) -> SafeString:
    """Return a table of downloads from rows of (URL, name, size in bytes)."""
    body = format_html_join(
        "",
        '<tr><td><a href="{}">{}</a></td><td class="number">{}</td></tr>',
        ((url, name, format_bytes(size)) for url, name, size in rows),
    )
    if not body:
        return note("none")
    return format_html('<table class="facts">{}</table>', body)
