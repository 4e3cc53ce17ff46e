import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client as Browser
from django.urls import reverse
from pytest_django import Settings

from builds import tasks
from builds.models import BuildState, RuntimeBuild
from runtimes import manifests
from runtimes.models import MIB, Runtime
from runtimes.packages import complete
from tests.builds.conftest import done
from tests.conftest import Visitor

ADD = reverse("admin:builds_runtimebuild_add")
LIST = reverse("admin:builds_runtimebuild_changelist")


def page(build: RuntimeBuild, action: str = "change") -> str:
    return reverse(f"admin:builds_runtimebuild_{action}", args=[build.pk])


def asked(browser: Browser, runtime: Runtime, **packages: str) -> str:
    body = {"runtime": runtime.pk, "kind": "packages", "apt": "", "pip": "", "npm": ""} | packages
    return browser.post(ADD, body, follow=True).content.decode()


def test_form_begins_with_the_packages_there_are(browser: Browser, python_runtime: Runtime) -> None:
    Runtime.objects.update(packages={"pip": ["humanize", "arrow"]})
    html = browser.get(ADD, {"runtime": python_runtime.pk}).content.decode()
    assert "humanize\narrow</textarea>" in html


@pytest.mark.parametrize("runtime", ["x", "0", "9" * 40, ""])
def test_form_of_no_runtime_is_empty(browser: Browser, runtime: str) -> None:
    assert browser.get(ADD, {"runtime": runtime}).status_code == 200


def test_build_is_asked_for(browser: Browser, python_runtime: Runtime) -> None:
    html = asked(browser, python_runtime, pip="humanize==4.9.0\r\narrow", apt="jq")
    build = RuntimeBuild.objects.get()
    assert build.packages == {"apt": ["jq"], "pip": ["humanize==4.9.0", "arrow"], "npm": []}
    assert build.requested_by == "user admin"
    assert f'data-url="{page(build, "log")}"' in html


def test_package_that_an_installer_could_misread_is_refused(browser: Browser, python_runtime: Runtime) -> None:
    html = asked(browser, python_runtime, pip="-r/etc/passwd")
    assert "is not a package name" in html
    assert not RuntimeBuild.objects.exists()


def test_second_build_is_refused_while_one_is_under_way(browser: Browser, build: RuntimeBuild) -> None:
    assert "is in progress" in asked(browser, build.runtime)
    assert RuntimeBuild.objects.count() == 1


def test_log_is_fetched_piece_by_piece(browser: Browser, build: RuntimeBuild) -> None:
    RuntimeBuild.objects.update(log="one\n<b>two</b>\n", progress="pip")
    answer = browser.get(page(build, "log"), {"since": 4}).json()
    assert (answer["log"], answer["next"], answer["unfinished"]) == ("<b>two</b>\n", 15, True)


def test_page_shows_why_it_failed_harmlessly(browser: Browser, build: RuntimeBuild) -> None:
    RuntimeBuild.objects.update(state=BuildState.FAILED, error="<script>no</script>")
    html = browser.get(page(build)).content.decode()
    assert "&lt;script&gt;no&lt;/script&gt;" in html
    assert "<script>no" not in html


def test_build_under_way_is_cancelled(browser: Browser, build: RuntimeBuild) -> None:
    tasks.take(build.pk)
    assert page(build, "cancel") in browser.get(page(build)).content.decode()
    browser.post(page(build, "cancel"))
    build.refresh_from_db()
    assert build.cancel_requested_at


def test_earlier_build_is_activated_with_one_click(browser: Browser, node: str, python_runtime: Runtime) -> None:
    build = done(python_runtime, 1, node)
    assert page(build, "activate") in browser.get(page(build)).content.decode()
    browser.post(page(build, "activate"))
    build.refresh_from_db()
    assert build.progress == "activation queued"


def test_what_cannot_be_activated_says_why(browser: Browser, node: str, python_runtime: Runtime) -> None:
    build = done(python_runtime, 1, node, base="another:1")
    assert "is based on another:1" in browser.post(page(build, "activate"), follow=True).content.decode()


@pytest.mark.parametrize("action", ["cancel", "activate", "deactivate"])
def test_action_takes_a_post(browser: Browser, build: RuntimeBuild, action: str) -> None:
    assert browser.get(page(build, action)).status_code == 405


def test_whoever_may_only_look_changes_nothing(client: Browser, build: RuntimeBuild) -> None:
    viewer = User.objects.create_user("viewer", is_staff=True)
    viewer.user_permissions.add(Permission.objects.get(codename="view_runtimebuild"))
    client.force_login(viewer)
    assert client.get(page(build)).status_code == 200
    assert client.get(page(build, "log")).status_code == 200
    assert {client.post(page(build, action)).status_code for action in ("cancel", "activate", "deactivate")} == {
        403
    }
    assert client.get(ADD).status_code == 403


def test_stranger_reads_no_log(client: Browser, build: RuntimeBuild) -> None:
    assert client.get(page(build, "log")).status_code == 302


def test_list_names_them(browser: Browser, build: RuntimeBuild) -> None:
    assert "build 1 of python" in browser.get(LIST).content.decode()


def live(runtime: Runtime, node: str) -> RuntimeBuild:
    found = done(runtime, 1, node, state=BuildState.LIVE)
    Runtime.objects.update(built_image=found.image_id, built_on=found.base, packages={"pip": ["humanize"]})
    return found


def test_first_build_is_rolled_back_to_the_plain_image(
    browser: Browser, node: str, python_runtime: Runtime
) -> None:
    build = live(python_runtime, node)
    Runtime.objects.update(memory_bytes=300 * MIB)
    assert page(build, "deactivate") in browser.get(page(build)).content.decode()
    assert "without a build" in browser.post(page(build, "deactivate"), follow=True).content.decode()
    build.refresh_from_db()
    python_runtime.refresh_from_db()
    assert (build.state, python_runtime.live_image) == (BuildState.READY, python_runtime.image)
    assert python_runtime.packages == complete(manifests.plain_packages(python_runtime))
    assert "humanize" not in python_runtime.packages["pip"]
    assert python_runtime.memory_bytes == 300 * MIB


def test_build_that_is_not_live_is_not_rolled_back(browser: Browser, node: str, python_runtime: Runtime) -> None:
    build = done(python_runtime, 1, node)
    assert page(build, "deactivate") not in browser.get(page(build)).content.decode()
    assert "is not live" in browser.post(page(build, "deactivate"), follow=True).content.decode()


def test_ended_build_offers_no_button_to_save(browser: Browser, node: str, python_runtime: Runtime) -> None:
    html = browser.get(page(done(python_runtime, 1, node))).content.decode()
    assert [name for name in ("_save", "_addanother", "_continue") if f'name="{name}"' in html] == []


def test_log_and_state_come_before_the_fields(browser: Browser, build: RuntimeBuild) -> None:
    html = browser.get(page(build)).content.decode()
    assert html.index('id="build-state"') < html.index('id="build-log"') < html.index('id="runtimebuild_form"')


def test_state_is_that_of_the_moment(browser: Browser, build: RuntimeBuild) -> None:
    tasks.take(build.pk)
    answer = browser.get(page(build, "log")).json()
    assert (answer["state"], answer["label"]) == ("building", "Building")


@pytest.mark.parametrize(("role", "offered"), [("administrator", True), ("operator", False), ("auditor", False)])
def test_only_who_may_build_is_offered_packages(
    visitor: Visitor, node: str, python_runtime: Runtime, role: str, offered: bool
) -> None:
    build = live(python_runtime, node)
    html = visitor(role).get(reverse("admin:runtimes_runtime_change", args=[python_runtime.pk])).content.decode()
    assert (f"{ADD}?runtime={python_runtime.pk}" in html, page(build, "deactivate") in html) == (offered, offered)


def test_runtimes_page_leads_to_its_builds(browser: Browser, node: str, python_runtime: Runtime) -> None:
    build = done(python_runtime, 1, node, state=BuildState.LIVE)
    Runtime.objects.update(built_image=build.image_id, built_on=build.base)
    html = browser.get(reverse("admin:runtimes_runtime_change", args=[python_runtime.pk])).content.decode()
    assert page(build) in html
    assert f"{ADD}?runtime={python_runtime.pk}" in html


@pytest.fixture
def no_registry(settings: Settings) -> str:
    """What the pages say then."""
    settings.SANDBOX_BUILDER, settings.SANDBOX_IMAGE_SOURCE = "buildah", "archive"
    return "Builds need a registry"


@pytest.mark.parametrize("url", [ADD, LIST])
def test_page_says_what_builds_need(browser: Browser, no_registry: str, url: str) -> None:
    html = browser.get(url).content.decode()
    assert no_registry in html
    assert "SANDBOX_IMAGE_REGISTRY" in html


def test_form_without_a_registry_is_refused_with_the_reason(
    browser: Browser, no_registry: str, python_runtime: Runtime
) -> None:
    assert no_registry in asked(browser, python_runtime, pip="humanize")
    assert not RuntimeBuild.objects.exists()


@pytest.mark.parametrize("url", [ADD, LIST])
def test_page_says_nothing_of_it_where_builds_are_made(browser: Browser, url: str) -> None:
    assert "SANDBOX_IMAGE_REGISTRY" not in browser.get(url).content.decode()
