import json
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client as Browser
from django.urls import reverse

from clients.models import Client
from inspections.models import Inspection
from runtimes.models import Runtime
from seccomp_profiles import revisions, shipped
from seccomp_profiles.models import SeccompActivation, SeccompProfile
from tests.pages import cells, fields
from tests.seccomp_profiles.test_validators import ALLOW, deny, profile

LIST = reverse("admin:seccomp_profiles_seccompprofile_changelist")
ADD = reverse("admin:seccomp_profiles_seccompprofile_add")
NO_MKDIR = profile(deny("mkdir"))


@pytest.fixture
def quiet(db: None) -> SeccompProfile:
    return revisions.create_profile("quiet", NO_MKDIR)


@pytest.fixture
def used(quiet: SeccompProfile, python_runtime: Runtime) -> SeccompProfile:
    python_runtime.seccomp_profile = quiet
    python_runtime.save()
    return quiet


def page(name: str, *args: Any, query: str = "") -> str:
    return reverse(f"admin:seccomp_profiles_{name}", args=args) + query


def change_page(of: SeccompProfile) -> str:
    return page("seccompprofile_change", of.pk)


def save(browser: Browser, of: SeccompProfile, **changes: Any) -> Any:
    form = browser.get(change_page(of)).context["adminform"].form
    values = {name: form[name].value() for name in form.fields}
    values = {name: value for name, value in values.items() if value is not None} | changes
    return browser.post(change_page(of), values, follow=True)


def html_of(response: Any) -> str:
    assert response.status_code == 200
    return str(response.content.decode())


def test_list_says_who_uses_it(browser: Browser, used: SeccompProfile) -> None:
    shipped.create_missing()
    Client.objects.create(name="picky", seccomp_profile=used)
    html = html_of(browser.get(LIST))
    assert "python, client picky" in cells(html, "used_by")
    assert "runtimes without a profile" in html


def test_list_says_where_it_is_proven(browser: Browser, used: SeccompProfile) -> None:
    assert "python: not probed" in html_of(browser.get(LIST))


@pytest.mark.parametrize("name", shipped.PROFILES)
def test_page_of_each_shipped_profile_loads(browser: Browser, db: None, name: str) -> None:
    shipped.create_missing()
    html_of(browser.get(change_page(SeccompProfile.objects.get(name=name))))


def test_save_unchanged_makes_no_revision(browser: Browser, quiet: SeccompProfile) -> None:
    save(browser, quiet)
    assert quiet.revisions.count() == 1


def test_save_makes_a_revision_with_its_author_and_reason(browser: Browser, quiet: SeccompProfile) -> None:
    save(browser, quiet, rules=json.dumps(profile(deny("rmdir"))), note="why not")
    revision = quiet.revisions.latest("number")
    assert (revision.number, revision.created_by, revision.note) == (2, "user admin", "why not")


def test_revision_of_a_profile_that_nobody_uses_is_in_force_at_once(
    browser: Browser, quiet: SeccompProfile
) -> None:
    save(browser, quiet, rules=json.dumps(profile(deny("rmdir"))))
    assert SeccompProfile.objects.get().rules == profile(deny("rmdir"))


def test_revision_that_is_not_proven_stays_a_draft(browser: Browser, used: SeccompProfile) -> None:
    html = html_of(save(browser, used, rules=json.dumps(profile(deny("rmdir")))))
    assert "never probed on python" in html
    assert SeccompProfile.objects.get().rules == NO_MKDIR


def test_draft_is_gone_on_with(browser: Browser, used: SeccompProfile) -> None:
    revisions.add_revision(used, profile(deny("rmdir")))
    form = browser.get(change_page(used)).context["adminform"].form
    assert form["rules"].initial == profile(deny("rmdir"))


def test_new_profile_is_added_with_its_rules(browser: Browser, db: None) -> None:
    browser.post(ADD, {"name": "none", "rules": ""})
    assert SeccompProfile.objects.get(name="none").rules is None


def test_new_profile_extends_another(browser: Browser, quiet: SeccompProfile) -> None:
    browser.post(ADD, {"name": "child", "parent": quiet.pk, "deny": "rmdir, mount\nmkdir", "allow": ""})
    child = SeccompProfile.objects.get(name="child")
    assert child.current.deny == ["mkdir", "mount", "rmdir"]


def test_error_is_shown_with_its_rule(browser: Browser, quiet: SeccompProfile) -> None:
    html = html_of(
        save(browser, quiet, rules=json.dumps(profile(deny("mkdir"), deny("x", action="SCMP_ACT_LOG"))))
    )
    assert "syscalls, rule 2: action: gVisor does not start a container with SCMP_ACT_LOG" in html
    assert quiet.revisions.count() == 1


@pytest.mark.parametrize("text", ["{", "[]", '{"defaultAction": "\\u0000"}', "[" * 100_000])
def test_text_that_is_no_profile_is_answered_with_an_error(
    browser: Browser, quiet: SeccompProfile, text: str
) -> None:
    assert 'class="errorlist"' in html_of(save(browser, quiet, rules=text))


def test_warning_is_shown_at_its_rule(browser: Browser, db: None) -> None:
    of = revisions.create_profile("odd", profile(deny("mkdri")))
    html = html_of(browser.get(change_page(of)))
    row = html.partition('id="rule-1"')[2].partition("</tr>")[0]
    assert "Did you mean mkdir?" in row


def test_text_in_the_editor_is_checked_while_it_is_typed(browser: Browser, db: None) -> None:
    html = html_of(browser.post(page("check"), {"rules": json.dumps(profile(deny("mkdri")))}))
    assert "Did you mean mkdir?" in html


@pytest.mark.parametrize("text", ["{", "[]", "nope", "", "[" * 100_000])
def test_any_text_in_the_editor_is_answered(browser: Browser, db: None, text: str) -> None:
    html_of(browser.post(page("check"), {"rules": text}))


def test_what_others_wrote_is_escaped(browser: Browser, db: None) -> None:
    of = revisions.create_profile("odd", profile(deny("<b>x", comment="<i>y")), note="<u>z")
    html = html_of(browser.get(change_page(of)))
    assert not [tag for tag in ("<b>x", "<i>y", "<u>z") if tag in html]


def test_dockers_file_is_imported_as_it_is(browser: Browser, quiet: SeccompProfile) -> None:
    rules = profile({"name": "mkdir", "action": "SCMP_ACT_ERRNO"}, archMap=[])
    file = SimpleUploadedFile("docker.json", json.dumps(rules).encode())
    save(browser, quiet, imported=file)
    assert quiet.revisions.latest("number").rules == rules


@pytest.mark.parametrize("content", [b"\xff", b"{", b"[" * 100_000])
def test_file_that_is_no_json_is_refused(browser: Browser, quiet: SeccompProfile, content: bytes) -> None:
    assert "Not a JSON file" in html_of(save(browser, quiet, imported=SimpleUploadedFile("x", content)))


def test_export_is_what_docker_gets(browser: Browser, quiet: SeccompProfile) -> None:
    response = browser.get(page("export", quiet.pk, 1))
    assert (response.json(), response["Content-Disposition"]) == (NO_MKDIR, 'attachment; filename="quiet-1.json"')


def test_button_activates_with_a_reason(browser: Browser, used: SeccompProfile) -> None:
    revisions.add_revision(used, profile(deny("rmdir")))
    url = page("activate", used.pk, 2)
    assert "Never probed" in html_of(browser.post(url, {"override": ""}, follow=True))
    browser.post(url, {"override": "an incident"})
    done = SeccompActivation.objects.latest("id")
    assert (done.revision.number, done.activated_by, done.override) == (2, "user admin", "an incident")


def test_following_the_parent_makes_a_revision(browser: Browser, quiet: SeccompProfile) -> None:
    child = revisions.create_profile("child", parent=quiet, deny=["rmdir"])
    revisions.put_in_force(revisions.add_revision(quiet, profile(deny("mount"))), by="x")
    assert "Rebase on" in html_of(browser.get(change_page(child)))
    browser.post(page("follow", child.pk))
    child = SeccompProfile.objects.get(name="child")
    assert (child.current.number, child.parent_is_newer) == (2, False)


def test_profile_without_a_parent_follows_nobody(browser: Browser, quiet: SeccompProfile) -> None:
    assert browser.post(page("follow", quiet.pk)).status_code == 404


def test_diff_shows_what_changes_for_programs(browser: Browser, quiet: SeccompProfile) -> None:
    revisions.add_revision(quiet, profile(deny("rmdir")))
    html = html_of(browser.get(page("diff", quiet.pk)))
    assert ("Newly denied: 1" in html, "Newly allowed: 1" in html) == (True, True)


@pytest.mark.parametrize("query", ["?before=9", "?before=parent", "?after=x", "?after=99999999999"])
def test_diff_with_what_is_not_there_is_no_fault(browser: Browser, quiet: SeccompProfile, query: str) -> None:
    assert browser.get(page("diff", quiet.pk, query=query)).status_code in (200, 404)


def test_revision_has_a_page(browser: Browser, quiet: SeccompProfile) -> None:
    assert quiet.sha256 in html_of(browser.get(page("revision", quiet.pk, 1)))


@pytest.mark.parametrize("name", ["activate", "follow"])
def test_who_may_only_look_changes_nothing(used: SeccompProfile, name: str) -> None:
    viewer = User.objects.create_user("viewer", is_staff=True)
    viewer.user_permissions.add(Permission.objects.get(codename="view_seccompprofile"))
    revisions.add_revision(used, profile(deny("rmdir")))
    browser = Browser()
    browser.force_login(viewer)
    url = page(name, used.pk, *([2] if name == "activate" else []))
    assert browser.post(url, {"override": "x"}).status_code == 403
    assert "Activate</button>" not in html_of(browser.get(change_page(used)))


def test_activation_takes_no_link(browser: Browser, used: SeccompProfile) -> None:
    assert browser.get(page("activate", used.pk, 1)).status_code == 405


def test_profile_in_use_cannot_be_deleted(browser: Browser, used: SeccompProfile) -> None:
    assert browser.post(page("seccompprofile_delete", used.pk), {"post": "yes"}).status_code == 403


def test_unused_profile_is_deleted_with_its_revisions(browser: Browser, quiet: SeccompProfile) -> None:
    browser.post(page("seccompprofile_delete", quiet.pk), {"post": "yes"})
    assert not SeccompProfile.objects.exists()


def test_default_of_a_profile_is_named_in_the_list(browser: Browser, db: None) -> None:
    revisions.create_profile("x", {"defaultAction": ALLOW})
    assert "allowed" in cells(html_of(browser.get(LIST)), "default_action")


def save_rows(browser: Browser, of: SeccompProfile, **changes: str) -> Any:
    """By the rows of the editor, as a browser without scripts sends them."""
    data = fields(html_of(browser.get(change_page(of))))
    return browser.post(
        change_page(of), data | {f"rules-{name}": text for name, text in changes.items()}, follow=True
    )


def test_rows_saved_untouched_make_no_revision(browser: Browser, quiet: SeccompProfile) -> None:
    save_rows(browser, quiet)
    assert quiet.revisions.count() == 1


def test_row_that_was_changed_makes_a_revision(browser: Browser, quiet: SeccompProfile) -> None:
    save_rows(browser, quiet, **{"0-add": "rmdir"})
    assert quiet.revisions.latest("number").rules == profile(deny("mkdir", "rmdir"))


def test_new_profile_is_made_of_rows(browser: Browser, db: None) -> None:
    data = fields(html_of(browser.get(ADD))) | {
        "name": "rows",
        "rules-default": "SCMP_ACT_ALLOW",
        "rules-0-action": "SCMP_ACT_ERRNO",
        "rules-0-names": "mkdir",
    }
    browser.post(ADD, data)
    assert SeccompProfile.objects.get(name="rows").rules == {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"action": "SCMP_ACT_ERRNO", "names": ["mkdir"]}],
    }


def test_child_needs_no_rows(browser: Browser, quiet: SeccompProfile) -> None:
    browser.post(ADD, fields(html_of(browser.get(ADD))) | {"name": "child", "parent": quiet.pk, "deny": "rmdir"})
    assert SeccompProfile.objects.get(name="child").current.deny == ["rmdir"]


def test_error_is_shown_at_its_row(browser: Browser, quiet: SeccompProfile) -> None:
    html = html_of(
        save_rows(browser, quiet, **{"1-action": "SCMP_ACT_ERRNO", "1-names": "rmdir", "1-arg-0-value": "x"})
    )
    first, second = html.split('<fieldset class="rule">')[1:3]
    assert "seccomp-error" not in first
    assert "must be a whole number" in second
    assert fields(html)["rules-1-arg-0-value"] == "x"
    assert quiet.revisions.count() == 1


def test_fields_that_are_no_rules_are_an_error(browser: Browser, quiet: SeccompProfile) -> None:
    html = html_of(save_rows(browser, quiet, **{"was": "{"}))
    assert 'class="errorlist' in html
    assert quiet.revisions.count() == 1


def test_rows_are_checked_while_they_are_edited(browser: Browser, quiet: SeccompProfile) -> None:
    data = fields(html_of(browser.get(change_page(quiet)))) | {"rules-0-names": "mkdri"}
    html = html_of(browser.post(page("check"), data))
    assert "Did you mean mkdir?" in html
    assert 'data-rule="1"' in html


@pytest.mark.parametrize("mode", ["form", "json"])
def test_editor_turns_from_one_form_to_the_other(browser: Browser, quiet: SeccompProfile, mode: str) -> None:
    data = fields(html_of(browser.get(change_page(quiet)))) | {"rules-0-add": "rmdir", "to": mode}
    html = html_of(browser.post(page("editor"), data))
    sent = fields(html)
    assert sent["rules-editor"] == mode
    assert json.loads(sent["rules"]) == profile(deny("mkdir", "rmdir"))
    assert sent["rules-0-names"] == "mkdir rmdir"


def test_editor_without_a_permission(client: Browser, db: None) -> None:
    client.force_login(User.objects.create_user("nobody", is_staff=True))
    assert client.post(page("editor"), {"rules": ""}).status_code == 403


# --- Before it is used ---


def test_profile_that_nobody_uses_is_inspected_on_a_runtime_of_choice(
    browser: Browser, quiet: SeccompProfile, python_runtime: Runtime
) -> None:
    shown = html_of(browser.get(change_page(quiet)))
    assert "on every runtime that uses it" not in shown
    assert f'<option value="{python_runtime.pk}" selected>on python</option>' in shown
    data = {"revision": quiet.current.pk, "runtime": python_runtime.pk}
    browser.post(reverse("admin:inspections_inspection_ask", args=["probe"]), data)
    (asked,) = Inspection.objects.all()
    assert (asked.revision, asked.runtime) == (quiet.current, python_runtime)
    shown = html_of(browser.get(change_page(quiet)))
    assert reverse("admin:inspections_inspection_change", args=[asked.pk]) in shown


def test_profile_in_use_is_inspected_where_it_is_used(
    browser: Browser, used: SeccompProfile, python_runtime: Runtime
) -> None:
    assert '<option value="">on every runtime that uses it</option>' in html_of(browser.get(change_page(used)))
    browser.post(
        reverse("admin:inspections_inspection_ask", args=["probe"]), {"revision": used.current.pk, "runtime": ""}
    )
    assert [asked.runtime for asked in Inspection.objects.all()] == [python_runtime]
