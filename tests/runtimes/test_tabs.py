"""The sections of a runtime's page, and a save that is refused. The tabs in a browser: tests/browser."""

import re

from django.test import Client as Browser
from django.urls import reverse

from runtimes.admin import RuntimeAdmin
from runtimes.models import MIB, Runtime
from runtimes.tabs import SECTIONS
from tests.pages import words
from tests.runtimes.test_admin import form_data, page


def section(html: str, name: str) -> str:
    return html.partition(f'<div class="tab-panel" id="section-{name}"')[2].partition('<div class="tab-panel"')[0]


def test_every_fieldset_is_in_one_section() -> None:
    titles = [title for titles in SECTIONS.values() for title in titles]
    assert sorted(map(str, titles)) == sorted(str(title) for title, _ in RuntimeAdmin.fieldsets)


def test_each_section_has_its_fields(browser: Browser, python_runtime: Runtime) -> None:
    html = browser.get(page(python_runtime)).content.decode()
    for name, field in (("general", "slug"), ("limits", "memory_bytes"), ("security", "network")):
        assert f'id="id_{field}"' in section(html, name)
        assert f'href="#section-{name}"' in html


def test_page_of_a_new_runtime_has_the_sections_too(browser: Browser) -> None:
    html = browser.get(reverse("admin:runtimes_runtime_add")).content.decode()
    assert 'id="id_packages"' in section(html, "general")


def refused(browser: Browser, runtime: Runtime) -> str:
    """Return the page after a save with one valid and one invalid change."""
    data = form_data(browser, runtime, open_files=5000, memory_bytes="half", name="Other")
    return str(browser.post(page(runtime), data).content.decode())


def test_refused_save_begins_with_its_errors(browser: Browser, python_runtime: Runtime) -> None:
    html = refused(browser, python_runtime)
    problems = html.partition('class="card explanation form-problems"')[2].partition("</div>")[0]
    assert 'href="#id_memory_bytes"' in problems
    assert "Memory : Write a number and bytes" in words(problems)
    assert html.index("form-problems") < html.index('class="tabs"')


def test_section_with_an_error_is_marked(browser: Browser, python_runtime: Runtime) -> None:
    html = refused(browser, python_runtime)
    assert re.findall(r'id="(section-[a-z-]+)" data-errors="1"', html) == ["section-limits"]
    assert "Limits 1 error" in words(html)


def test_refused_save_shows_no_value_as_current_that_is_not(browser: Browser, python_runtime: Runtime) -> None:
    Runtime.objects.update(open_files=4000, memory_bytes=300 * MIB)
    html = words(refused(browser, Runtime.objects.get()).partition('class="tabs"')[0])
    assert "Open files 4000 1024 Reset" in html
    assert "5000" not in html
    assert "Memory 300 MiB 256 MiB Reset" in html
