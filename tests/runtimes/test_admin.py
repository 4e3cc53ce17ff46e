from collections.abc import Callable

import pytest
from django.conf import settings
from django.test import Client as Browser
from django.urls import reverse

from executions.models import Execution
from runtimes.admin import RuntimeAdmin
from runtimes.manifests import load, sync
from runtimes.models import MIB, Runtime
from sandboxes.models import Sandbox, SandboxState
from tests.pages import cells, words
from tests.sandboxes.answering import keeper_with

LIST = reverse("admin:runtimes_runtime_changelist")


def page(runtime: Runtime) -> str:
    return reverse("admin:runtimes_runtime_change", args=[runtime.pk])


def form_data(browser: Browser, runtime: Runtime, **changes: object) -> dict[str, object]:
    form = browser.get(page(runtime)).context["adminform"].form
    data = {name: form[name].value() for name in form.fields}
    return {name: value for name, value in (data | changes).items() if value is not None and value is not False}


def test_list_shows_pool_and_ready_sandboxes(browser: Browser, python_runtime: Runtime) -> None:
    Sandbox.objects.create(
        runtime=python_runtime,
        runtime_revision=1,
        node="n",
        state=SandboxState.READY,
        profile_sha256="",
        image_id="",
    )
    html = browser.get(LIST).content.decode()
    assert "1 to 8" in html
    assert cells(html, "ready") == ["1"]


def test_limits_are_shown_with_their_units_and_bounds(browser: Browser, python_runtime: Runtime) -> None:
    html = browser.get(page(python_runtime)).content.decode()
    assert 'value="256 MiB"' in html
    assert "= 268,435,456 bytes" in html
    assert "At least 100 ms and at most 1 h." in html


def test_limits_are_read_with_their_units(browser: Browser, python_runtime: Runtime) -> None:
    data = form_data(browser, python_runtime, wall_time_ms="1.5 min", memory_bytes="0.5 GiB", tmp_bytes="1048576")
    assert browser.post(page(python_runtime), data).status_code == 302
    python_runtime.refresh_from_db()
    limits = python_runtime.limits
    assert (limits.wall_time_ms, limits.memory_bytes, limits.tmp_bytes) == (90_000, 2**29, 2**20)


def test_saving_what_was_shown_changes_no_limit(browser: Browser, python_runtime: Runtime) -> None:
    Runtime.objects.update(memory_bytes=268_435_457, wall_time_ms=1234)
    before = Runtime.objects.get().limits
    browser.post(page(python_runtime), form_data(browser, python_runtime))
    assert Runtime.objects.get().limits == before


def test_pool_says_what_it_costs_in_memory(
    browser: Browser, python_runtime: Runtime, make_execution: Callable[..., Execution]
) -> None:
    make_execution(peak_memory_bytes=40 * MIB)
    make_execution(peak_memory_bytes=30 * MIB)
    shown = words(browser.get(page(python_runtime)).content.decode())
    assert "30 MiB at the minimum, 240 MiB at the maximum, and 2 GiB if all sandboxes" in shown
    assert "One warm sandbox takes 30 MiB, the lowest peak of its last 2 runs." in shown


def test_pool_that_nothing_ran_in_costs_what_the_docs_say(browser: Browser, python_runtime: Runtime) -> None:
    shown = words(browser.get(page(python_runtime)).content.decode())
    assert "One warm sandbox takes 70 MiB, as measured in docs/performance.md (no runs yet)." in shown


def test_page_describes_the_rules_of_its_language_only(browser: Browser, python_runtime: Runtime) -> None:
    html = browser.get(page(python_runtime)).content.decode()
    assert "python.constant-operation" in html
    assert "nodejs.require" not in html


def test_page_of_a_new_runtime_offers_all_rules(browser: Browser) -> None:
    html = browser.get(reverse("admin:runtimes_runtime_add")).content.decode()
    assert "python.call" in html
    assert "nodejs.require" in html


def test_save_stores_and_makes_a_revision(browser: Browser, python_runtime: Runtime) -> None:
    data = form_data(
        browser, python_runtime, wall_time_ms=5000, disabled_rules=["python.call"], environment='{"TZ": "UTC"}'
    )
    assert browser.post(page(python_runtime), data).status_code == 302
    python_runtime.refresh_from_db()
    assert (python_runtime.wall_time_ms, python_runtime.revision) == (5000, 2)
    assert python_runtime.disabled_rules == ["python.call"]
    assert python_runtime.environment == {"TZ": "UTC"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pool_max": 0}, "Must not be below pool_min."),
        ({"memory_bytes": 1}, "greater than or equal to"),
        ({"memory_bytes": "256 MB"}, "Write a number and bytes, KiB, MiB or GiB."),
        ({"wall_time_ms": ""}, "This field is required."),
        ({"environment": "{"}, "Enter a valid JSON."),
        ({"environment": '{"A": 1}'}, "Must be a JSON object of strings"),
        ({"source_file": "a/b"}, "Must be a plain file name"),
    ],
)
def test_save_refuses(browser: Browser, python_runtime: Runtime, changes: dict, message: str) -> None:
    response = browser.post(page(python_runtime), form_data(browser, python_runtime, **changes))
    assert message in response.content.decode()


def test_packages_cannot_be_typed_because_nothing_would_install_them(
    browser: Browser, python_runtime: Runtime
) -> None:
    data = form_data(browser, python_runtime, packages='{"pip": ["humanize"]}')
    assert "packages" not in form_data(browser, python_runtime)
    browser.post(page(python_runtime), data)
    assert Runtime.objects.get().packages == {}


def test_save_refuses_an_image_that_no_node_has(browser: Browser, python_runtime: Runtime) -> None:
    data = form_data(browser, python_runtime, image="gone:1")
    with keeper_with(python_runtime.image):
        shown = words(browser.post(page(python_runtime), data).content.decode())
    assert "No node has the image gone:1, so runs would fail. Build or pull it on the nodes first" in shown
    assert Runtime.objects.get().image == python_runtime.image


def test_disabled_runtime_may_name_an_image_that_is_yet_to_be_pulled(
    browser: Browser, python_runtime: Runtime
) -> None:
    data = form_data(browser, python_runtime, image="gone:1")
    del data["enabled"]
    with keeper_with(python_runtime.image):
        browser.post(page(python_runtime), data)
    assert Runtime.objects.get().image == "gone:1"


def test_image_that_was_lost_since_blocks_no_other_change(browser: Browser, python_runtime: Runtime) -> None:
    with keeper_with():
        browser.post(page(python_runtime), form_data(browser, python_runtime, wall_time_ms=5000))
    assert Runtime.objects.get().wall_time_ms == 5000


def test_save_refuses_a_name_of_another_runtime(browser: Browser, python_runtime: Runtime) -> None:
    other = Runtime.objects.create(slug="pypy", name="PyPy", image="x", source_file="main.py")
    response = browser.post(page(other), form_data(browser, other, aliases="python3"))
    assert "python3 already names the runtime python" in response.content.decode()


def test_runtime_with_history_cannot_be_deleted(browser: Browser, make_execution) -> None:
    execution = make_execution()
    url = reverse("admin:runtimes_runtime_delete", args=[execution.runtime_id])
    assert browser.post(url, {"post": "yes"}).status_code == 403


def test_runtime_without_history_can_be_deleted(browser: Browser, python_runtime: Runtime) -> None:
    url = reverse("admin:runtimes_runtime_delete", args=[python_runtime.pk])
    browser.post(url, {"post": "yes"})
    assert not Runtime.objects.exists()


def test_every_field_of_the_model_is_on_the_page() -> None:
    shown = {
        name
        for _, options in RuntimeAdmin.fieldsets
        for group in options["fields"]
        for name in ([group] if isinstance(group, str) else group)
    }
    unseen = {"id", "manifest_sha256", "built_image", "built_on"}
    assert {field.name for field in Runtime._meta.fields} - shown == unseen


@pytest.fixture
def bash(db: None) -> Runtime:
    sync([load(settings.BASE_DIR / "images" / "bash" / "runtime.toml")])
    return Runtime.objects.get(slug="bash")


def test_action_puts_a_runtime_back_to_its_manifest(browser: Browser, bash: Runtime) -> None:
    Runtime.objects.update(run_command="bash -x {source}")
    browser.post(LIST, {"action": "reset_to_manifest", "_selected_action": [bash.pk]})
    bash.refresh_from_db()
    assert (bash.run_command, bash.revision) == ("bash {source}", 2)


def test_action_on_a_runtime_without_a_manifest_says_so(browser: Browser, python_runtime: Runtime) -> None:
    Runtime.objects.update(slug="cobol")
    answer = browser.post(
        LIST, {"action": "reset_to_manifest", "_selected_action": [python_runtime.pk]}, follow=True
    )
    assert "has no manifest" in answer.content.decode()


def test_commands_and_smoke_programs_are_saved(browser: Browser, bash: Runtime) -> None:
    data = form_data(browser, bash, run_command="bash -u {source}", modes="script", function_command="")
    answer = browser.post(page(bash), data)
    assert answer.status_code == 302, answer.context["adminform"].form.errors
    bash.refresh_from_db()
    assert (bash.run_command, bash.modes, len(bash.smoke)) == ("bash -u {source}", ["script"], 8)
