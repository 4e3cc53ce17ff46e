import re
from urllib.parse import urlsplit

import pytest
from django.test import Client as Browser
from django.urls import reverse

from runtimes.models import Runtime
from tests.pages import words


def crumbs(browser: Browser, address: str) -> list[tuple[str, str]]:
    """Words and address of each."""
    html = browser.get(address).content.decode()
    title = re.search(r"<h1\b.*?</h1>", html, re.DOTALL)
    assert title
    return [
        (words(text), link) for link, text in re.findall(r'<a href="([^"]*)"[^>]*>(.*?)</a', title[0], re.DOTALL)
    ]


@pytest.mark.parametrize("model", ["runtimes_runtime", "executions_execution", "seccomp_profiles_seccompprofile"])
def test_no_name_comes_twice(browser: Browser, model: str) -> None:
    names = [name for name, _ in crumbs(browser, reverse(f"admin:{model}_changelist"))]
    assert names and len(set(names)) == len(names)


def test_the_one_that_is_left_leads_to_the_list(browser: Browser, python_runtime: Runtime) -> None:
    shown = crumbs(browser, reverse("admin:runtimes_runtime_change", args=[python_runtime.pk]))
    assert [name for name, _ in shown] == ["Runtimes", "Python"]
    assert urlsplit(shown[0][1]).path == reverse("admin:runtimes_runtime_changelist")


def test_other_names_stay(browser: Browser) -> None:
    names = [name for name, _ in crumbs(browser, reverse("admin:executions_sandbox_changelist"))]
    assert names == ["Executions", "Sandboxes"]
