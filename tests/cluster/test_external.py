"""As an installation that lasts has it: a Postgres elsewhere, checked by its certificate; Secrets of its own;
migrations as a hook of Helm; and a volume with the key of seals.
"""

import re
import secrets
import shlex
from base64 import b64encode
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from scripts.setup.hosts import authority
from tests.cluster.release import Caller, Object, Release, given_image, kubectl, run
from tests.live import ROOT

MANUAL = (ROOT / "docs/kubernetes.md").read_text(encoding="utf-8")
DATABASE, SEAL_CLASS = "db", "sandbox-test-seal"
VALUES = {
    "postgres": {
        "trial": {"enabled": False},
        "external": {"passwordSecret": {"name": "database"}, "ca": {"name": "database"}, "sslmode": "verify-full"},
    },
    "secrets": {"existingSecret": "ours"},
    "seal": {"enabled": True, "persistence": {"storageClassName": SEAL_CLASS}},
    "egress": {"enabled": False},
}
# docs/kubernetes.md lists them; database_owner is in a Secret of its own.
KEYS = (
    "database_web", "database_worker", "database_keeper", "database_callbacks", "database_egress", "django_secret_key",
    "callback_key", "admin_password", "api_token", "metrics_token", "egress", "egress_nodes",
)  # fmt: skip
EMPTY = ("otlp_headers", "email_password", "oidc_client_secret")
# Debian's user of Postgres in the image.
USER, GROUP = 100, 102


def secret(name: str, values: Mapping[str, str | bytes]) -> Object:
    data = {
        key: b64encode(value if isinstance(value, bytes) else value.encode()).decode()
        for key, value in values.items()
    }
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": data}


def database(tls: Path) -> Iterator[Object]:
    """A Postgres as somebody else would run it, in the same namespace."""
    image, policy = given_image("postgres")
    key, certificate = (tls / authority.KEY).read_bytes(), (tls / authority.CERTIFICATE).read_bytes()
    yield secret("database", {"password": secrets.token_hex(24), "ca.crt": (tls / authority.CA).read_bytes()})
    yield secret("server", {"tls.key": key, "tls.crt": certificate})
    options = ("max_connections=300", "ssl=on", "ssl_cert_file=/server/tls.crt", "ssl_key_file=/server/tls.key")
    yield {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": DATABASE, "labels": {"app": DATABASE}},
        "spec": {
            "securityContext": {"runAsUser": USER, "runAsGroup": GROUP, "fsGroup": GROUP},
            "containers": [{
                "name": DATABASE, "image": image, "imagePullPolicy": policy,
                "args": ["postgres", *(word for each in options for word in ("-c", each))],
                "env": [{"name": "POSTGRES_PASSWORD_FILE", "value": "/password/password"}],
                "readinessProbe": {"exec": {"command": ["pg_isready", "--host=localhost", "--quiet"]}},
                "volumeMounts": [
                    {"name": "password", "mountPath": "/password"}, {"name": "server", "mountPath": "/server"},
                ],
            }],
            "volumes": [
                {"name": "password", "secret": {"secretName": "database", "defaultMode": 0o440}},
                {"name": "server", "secret": {"secretName": "server", "defaultMode": 0o440}},
            ],
        },
    }  # fmt: skip
    yield {
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": DATABASE},
        "spec": {"clusterIP": "None", "selector": {"app": DATABASE}, "ports": [{"port": 5432}]},
    }  # fmt: skip


def volume(name: str) -> Object:
    """For the one claim of the class: clusters for tests may have no provisioner."""
    return {
        "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name},
        "spec": {
            "storageClassName": SEAL_CLASS, "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": "Retain",
            "hostPath": {"path": f"/tmp/{name}", "type": "DirectoryOrCreate"},
        },
    }  # fmt: skip


def in_volume(release: Release, name: str, command: str) -> None:
    """Run a command as root in the folder of the volume: Kubernetes gives a folder of the node to no group."""
    image, policy = given_image("platform")
    release.apply({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {
            "restartPolicy": "Never",
            "containers": [{
                "name": name, "image": image, "imagePullPolicy": policy, "command": ["sh", "-ec", command],
                "securityContext": {"runAsUser": 0}, "volumeMounts": [{"name": "seal", "mountPath": "/seal"}],
            }],
            "volumes": [{"name": "seal", "hostPath": {"path": f"/tmp/{release.name}", "type": "DirectoryOrCreate"}}],
        },
    })  # fmt: skip
    release.wait(f"pod/{name}", "jsonpath={.status.phase}=Succeeded")


@pytest.fixture(scope="module")
def lasting(cluster: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Release]:
    installed = Release("external", VALUES)
    tls = tmp_path_factory.mktemp("tls")
    host = f"{DATABASE}.{installed.namespace}.svc.cluster.local"
    authority.ensure(host, tls)
    try:
        installed.make_namespace()
        installed.apply(volume(installed.name), *database(tls))
        installed.apply(secret("ours", {key: secrets.token_hex(24) for key in KEYS} | dict.fromkeys(EMPTY, "")))
        in_volume(installed, "give", "chown 10001:10001 /seal && chmod 700 /seal")
        installed.until_pod_is_ready(DATABASE)
        installed.change({"postgres": {"external": {"host": host}}})
        installed.install()
        yield installed
        in_volume(installed, "clear", "rm -rf /seal/*")
    finally:
        installed.remove()
        kubectl("delete", "pv", installed.name, "--ignore-not-found", "--wait=false", check=False)


@pytest.fixture(scope="module")
def its_caller(lasting: Release) -> Caller:
    return Caller(lasting, secret="ours")


def test_migrations_were_a_hook_and_programs_run(lasting: Release, its_caller: Caller) -> None:
    """A hook that has succeeded is removed."""
    assert lasting.get("jobs", "-l", "app.kubernetes.io/component=migrate")["items"] == []
    ended = run(its_caller, "print(6 * 7)\n")
    assert (ended["status"], ended["stdout"]) == ("succeeded", "42\n"), ended


def test_connections_are_encrypted(lasting: Release) -> None:
    query = (
        "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)"
        " WHERE NOT ssl AND usename LIKE 'sandbox%'"
    )
    code = (
        "from django.db import connection\n"
        f"cursor = connection.cursor(); cursor.execute({query!r}); print(cursor.fetchone()[0])"
    )
    said = lasting.exec("web", "python3", "manage.py", "shell", "--no-imports", "-c", code)
    assert said.strip() == "0"


def test_an_upgrade_runs_the_hook_before_anything_is_replaced(lasting: Release, its_caller: Caller) -> None:
    lasting.upgrade({"web": {"podAnnotations": {"example.com/changed": "yes"}}})
    lasting.wait_until_ready()
    assert run(its_caller, "print(1)\n")["status"] == "succeeded"


def test_history_is_sealed_by_the_cron_job_and_its_key_can_be_copied(lasting: Release, its_caller: Caller) -> None:
    run(its_caller, "print(1)\n")
    kubectl("-n", lasting.namespace, "create", "job", "seal-now", f"--from=cronjob/{lasting.prefix}-seal")
    lasting.wait("job/seal-now", "condition=Complete")
    said = lasting.exec("agent", "env", "SANDBOX_SERVICE=worker", "python3", "manage.py", "verify_audit")
    assert "All rows match their seals" in said
    assert "BEGIN PRIVATE KEY" in the_manuals_copy_of_the_key(lasting)


def the_manuals_copy_of_the_key(release: Release) -> str:
    """By the commands of docs/kubernetes.md."""
    (block,) = [each for each in MANUAL.split("```")[1::2] if "run seal-copy" in each]
    image, policy = given_image("platform")
    for name, ours in (
        ("sandbox-sandbox-platform", release.prefix),
        ("-n sandbox ", f"-n {release.namespace} "),
        ("registry.example.com/sandbox-platform/platform:0.2.0", image),
        ('"command":["sleep', f'"imagePullPolicy":"{policy}","command":["sleep'),
    ):
        assert name in block
        block = block.replace(name, ours)
    shown = ""
    for line in re.split(r"\n(?=kubectl)", block.strip()):
        program, *words = shlex.split(line.replace("\\\n", " ").removesuffix(" > seal.key"))
        assert program == "kubectl"
        shown += kubectl(*words)
    return shown
