import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError

from runtimes.models import MIB, Runtime
from sandbox_platform.kit.notify import POOL, Listener


def test_pool_min_up_to_pool_max_is_accepted(python_runtime: Runtime) -> None:
    Runtime.objects.update(pool_min=8, pool_max=8)


def test_pool_min_above_pool_max_is_refused(python_runtime: Runtime) -> None:
    with pytest.raises(IntegrityError, match="runtime_pool_min_le_max"):
        Runtime.objects.update(pool_min=9, pool_max=8)


def test_slug_is_unique(python_runtime: Runtime) -> None:
    with pytest.raises(IntegrityError, match="slug"):
        Runtime.objects.create(slug="python", name="x", image="x", source_file="x")


def test_save_makes_a_revision(python_runtime: Runtime) -> None:
    python_runtime.save()
    python_runtime.refresh_from_db()
    assert python_runtime.revision == 2


@pytest.mark.django_db(transaction=True)
def test_save_tells_the_keepers(python_runtime: Runtime) -> None:
    with Listener(POOL) as listener:
        python_runtime.save()
        assert (POOL, "") in listener.wait(10)


def test_first_save_is_revision_one(python_runtime: Runtime) -> None:
    assert python_runtime.revision == 1


@pytest.mark.parametrize("name", ["python", "python3"])
def test_named_finds_slug_and_alias(python_runtime: Runtime, name: str) -> None:
    assert Runtime.objects.named(name).get() == python_runtime


def test_named_finds_nothing_else(python_runtime: Runtime) -> None:
    assert not Runtime.objects.named("pyth").exists()


def test_enabled_leaves_out_what_is_switched_off(python_runtime: Runtime) -> None:
    Runtime.objects.update(enabled=False)
    assert not Runtime.objects.enabled().exists()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("source_file", "../main.py"),
        ("environment", {"A": 1}),
        ("environment", {"A=B": "c"}),
        ("environment", ["A"]),
        ("disabled_rules", ["python.nonsense"]),
        ("memory_bytes", 150 * MIB - 1),
        ("pool_min", 9),
    ],
)
def test_invalid_value_is_refused(python_runtime: Runtime, field: str, value: object) -> None:
    setattr(python_runtime, field, value)
    with pytest.raises(ValidationError):
        python_runtime.full_clean()


def test_limits_hold_the_rows_values(python_runtime: Runtime) -> None:
    assert python_runtime.limits.as_dict()["memory_bytes"] == 256 * MIB
