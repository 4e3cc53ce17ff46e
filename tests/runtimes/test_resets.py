from typing import Any

import pytest
from django.conf import settings
from django.test import Client as Browser
from django.urls import reverse

from audit.models import TrailEntry
from builds.models import BuildKind, BuildState, RuntimeBuild
from runtimes import manifests, resets
from runtimes.manifests import load, sync
from runtimes.models import MIB, Runtime
from tests.conftest import Visitor
from tests.pages import words


@pytest.fixture
def bash(db: None) -> Runtime:
    sync([load(settings.BASE_DIR / "images" / "bash" / "runtime.toml")])
    Runtime.objects.update(run_command="bash -x {source}", memory_bytes=300 * MIB, pool_max=5)
    return Runtime.objects.get()


def page(runtime: Runtime) -> str:
    return reverse("admin:runtimes_runtime_change", args=[runtime.pk])


def address(runtime: Runtime) -> str:
    return reverse("admin:runtimes_runtime_reset", args=[runtime.pk])


def text(response: Any) -> str:
    assert response.status_code == 200
    return words(response.content.decode())


def confirm(browser: Browser, runtime: Runtime, **data: str) -> str:
    """Asked, read, and agreed to; what the page says then."""
    asked = browser.post(address(runtime), data)
    stamp = asked.context["comparison"].stamp
    return text(browser.post(address(runtime), data | {"confirmed": stamp}, follow=True))


def live_build(runtime: Runtime) -> RuntimeBuild:
    runtime.built_image, runtime.built_on = "sha256:1", runtime.image
    runtime.save()
    return RuntimeBuild.objects.create(
        runtime=runtime, number=1, kind=BuildKind.PACKAGES, base=runtime.image, state=BuildState.LIVE, image_id="x"
    )


def test_page_lists_what_differs_in_its_units(browser: Browser, bash: Runtime) -> None:
    shown = text(browser.get(page(bash)))
    assert "Differences from the manifest: 3" in shown
    assert "Run command bash -x {source} bash {source} Reset" in shown
    assert "Memory 300 MiB 256 MiB Reset" in shown
    assert "Maximum 5 sandboxes 4 sandboxes Reset" in shown


def test_unchanged_one_says_so(browser: Browser, bash: Runtime) -> None:
    manifests.reset_one(bash)
    shown = text(browser.get(page(bash)))
    assert "All values equal those in images/bash/runtime.toml" in shown
    assert "Reset all" not in shown


def test_one_without_a_manifest_says_so(browser: Browser, python_runtime: Runtime) -> None:
    Runtime.objects.update(slug="cobol")
    assert "No manifest: the runtime was created here" in text(browser.get(page(python_runtime)))


def test_what_differs_is_escaped(browser: Browser, bash: Runtime) -> None:
    Runtime.objects.update(run_command="<b>x")
    assert "<b>x" not in browser.get(page(bash)).content.decode()


def test_nothing_is_done_before_it_was_shown(browser: Browser, bash: Runtime) -> None:
    shown = text(browser.post(address(bash), {"field": "memory_bytes"}))
    assert "Memory 300 MiB 256 MiB" in shown
    assert "Run command" not in shown
    assert "The runtime gets revision 2" in shown
    assert Runtime.objects.get().memory_bytes == 300 * MIB


def test_one_field_is_put_back(browser: Browser, bash: Runtime) -> None:
    confirm(browser, bash, field="memory_bytes")
    bash.refresh_from_db()
    assert (bash.memory_bytes, bash.pool_max, bash.revision) == (256 * MIB, 5, 2)


def test_all_are_put_back(browser: Browser, bash: Runtime) -> None:
    confirm(browser, bash)
    bash.refresh_from_db()
    assert (bash.memory_bytes, bash.pool_max, bash.run_command) == (256 * MIB, 4, "bash {source}")


def test_it_is_in_the_trail(browser: Browser, bash: Runtime) -> None:
    confirm(browser, bash, field="memory_bytes")
    assert [300 * MIB, 256 * MIB] in [
        (entry.pgh_diff or {}).get("memory_bytes") for entry in TrailEntry.objects.all()
    ]


def test_what_has_changed_since_it_was_shown_is_shown_again(browser: Browser, bash: Runtime) -> None:
    stamp = browser.post(address(bash)).context["comparison"].stamp
    Runtime.objects.update(memory_bytes=400 * MIB)
    assert "400 MiB" in text(browser.post(address(bash), {"confirmed": stamp}))
    assert Runtime.objects.get().memory_bytes == 400 * MIB


def test_live_build_that_would_be_lost_is_named(browser: Browser, bash: Runtime) -> None:
    build = live_build(bash)
    assert f"{build} is no longer live" in text(browser.post(address(bash)))
    assert "is no longer live" not in text(browser.post(address(bash), {"field": "memory_bytes"}))
    confirm(browser, bash)
    build.refresh_from_db()
    assert build.state == BuildState.READY


def test_packages_are_put_back_with_the_image(browser: Browser, bash: Runtime) -> None:
    build = live_build(bash)
    Runtime.objects.update(packages=bash.packages | {"apt": ["cowsay"]})
    assert f"{build} is no longer live" in text(browser.post(address(bash), {"field": "packages"}))
    confirm(browser, bash, field="packages")
    build.refresh_from_db()
    bash.refresh_from_db()
    assert (build.state, bash.live_image, bash.memory_bytes) == (BuildState.READY, bash.image, 300 * MIB)
    assert bash.packages.get("apt") != ["cowsay"]


def test_only_what_is_ticked_is_put_back(browser: Browser, bash: Runtime) -> None:
    build = live_build(bash)
    assert 'name="fields" value="memory_bytes" checked' in browser.post(address(bash)).content.decode()
    confirm(browser, bash, chosen="1", fields="pool_max")
    build.refresh_from_db()
    bash.refresh_from_db()
    assert (bash.memory_bytes, bash.pool_max, build.state) == (300 * MIB, 4, BuildState.LIVE)


def test_build_alone_is_put_back(browser: Browser, bash: Runtime) -> None:
    build = live_build(bash)
    confirm(browser, bash, chosen="1", build="1")
    build.refresh_from_db()
    bash.refresh_from_db()
    assert (bash.memory_bytes, bash.built_image, build.state) == (300 * MIB, "", BuildState.READY)


def test_nothing_ticked_puts_nothing_back(browser: Browser, bash: Runtime) -> None:
    assert "nothing was ticked" in confirm(browser, bash, chosen="1")
    assert Runtime.objects.get().memory_bytes == 300 * MIB


def test_value_that_does_not_fit_the_others_is_refused(browser: Browser, bash: Runtime) -> None:
    Runtime.objects.update(pool_max=9, pool_min=7)
    assert "Nothing was changed: " in confirm(browser, bash, field="pool_max")
    assert Runtime.objects.get().pool_max == 9


@pytest.mark.parametrize("field", ["seccomp_profile", "x", "slug"])
def test_field_that_does_not_differ_is_left(browser: Browser, bash: Runtime, field: str) -> None:
    assert "Nothing to reset" in text(browser.post(address(bash), {"field": field}, follow=True))


@pytest.mark.parametrize("role", ["operator", "auditor"])
def test_others_see_it_and_change_nothing(visitor: Visitor, bash: Runtime, role: str) -> None:
    browser = visitor(role)
    shown = text(browser.get(page(bash)))
    assert "Memory 300 MiB 256 MiB" in shown
    assert "Reset …" not in shown
    stamp = resets.compare(bash).stamp
    assert browser.post(address(bash), {"confirmed": stamp}).status_code == 403
    assert Runtime.objects.get().memory_bytes == 300 * MIB


def test_it_takes_a_post(browser: Browser, bash: Runtime) -> None:
    assert browser.get(address(bash)).status_code == 405


def test_smoke_programs_that_differ_are_named(browser: Browser, bash: Runtime) -> None:
    programs = [program | {"code": "true"} if program["name"] == "hello" else program for program in bash.smoke]
    Runtime.objects.update(smoke=programs)
    count = len(programs)
    assert text(browser.get(page(bash))).count(f"{count} programs; not the same on the other side: hello") == 2
