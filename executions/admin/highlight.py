"""Highlights programs on the server. Pygments escapes its input."""

from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe
from pygments import highlight as pygments_highlight
from pygments.formatters import HtmlFormatter
from pygments.lexer import Lexer
from pygments.lexers import TextLexer, get_lexer_by_name, get_lexer_for_filename
from pygments.util import ClassNotFound

# Longer programs stay plain: lexers are regular expressions, and the text is untrusted.
COLOURED = 50_000
FORMATTER = HtmlFormatter(cssclass="highlight", linenos=False)


def highlight(code: str, *, source_file: str, language: str) -> SafeString:
    if len(code) > COLOURED:
        return format_html('<div class="highlight"><pre tabindex="0">{}</pre></div>', code)
    html = str(pygments_highlight(code, _lexer(source_file, language), FORMATTER))
    # Safe: the HTML consists of escaped text and pygments' spans.
    return mark_safe(html.replace("<pre>", '<pre tabindex="0">', 1))  # noqa: S308


def _lexer(source_file: str, language: str) -> Lexer:
    try:
        return get_lexer_for_filename(source_file, stripnl=False)
    except ClassNotFound:
        pass
    try:
        return get_lexer_by_name(language, stripnl=False)
    except ClassNotFound:
        return TextLexer(stripnl=False)
