import pytest
from django.test import Client as Browser
from django.urls import reverse

from seccomp_profiles import shipped
from seccomp_profiles.models import SeccompProfile
from tests.pages import cells

LIST = reverse("admin:seccomp_profiles_seccompprofile_changelist")
ADD = reverse("admin:seccomp_profiles_seccompprofile_add")


@pytest.fixture(autouse=True)
def shipped_profiles(db: None) -> None:
    shipped.create_missing()


def test_list_says_who_uses_it(browser: Browser, python_runtime) -> None:
    python_runtime.seccomp_profile = SeccompProfile.objects.get(name="default")
    python_runtime.save()
    html = browser.get(LIST).content.decode()
    assert "python" in cells(html, "used_by")
    assert "runtimes without a profile" in html


def test_page_of_each_shipped_profile_loads(browser: Browser) -> None:
    for profile in SeccompProfile.objects.all():
        url = reverse("admin:seccomp_profiles_seccompprofile_change", args=[profile.pk])
        assert browser.get(url).status_code == 200


def test_save_unchanged_keeps_the_rules(browser: Browser) -> None:
    profile = SeccompProfile.objects.get(name="default")
    url = reverse("admin:seccomp_profiles_seccompprofile_change", args=[profile.pk])
    form = browser.get(url).context["adminform"].form
    browser.post(url, {name: form[name].value() for name in form.fields})
    assert SeccompProfile.objects.get(name="default").sha256 == profile.sha256


def test_empty_rules_mean_no_filter(browser: Browser) -> None:
    browser.post(ADD, {"name": "none", "rules": ""})
    assert SeccompProfile.objects.get(name="none").rules is None


def test_action_that_gvisor_refuses_is_refused(browser: Browser) -> None:
    response = browser.post(ADD, {"name": "bad", "rules": '{"defaultAction": "SCMP_ACT_KILL_PROCESS"}'})
    assert "gVisor does not start with SCMP_ACT_KILL_PROCESS" in response.content.decode()


def test_profile_in_use_cannot_be_deleted(browser: Browser, python_runtime) -> None:
    profile = SeccompProfile.objects.get(name="default")
    python_runtime.seccomp_profile = profile
    python_runtime.save()
    url = reverse("admin:seccomp_profiles_seccompprofile_delete", args=[profile.pk])
    assert browser.post(url, {"post": "yes"}).status_code == 403
