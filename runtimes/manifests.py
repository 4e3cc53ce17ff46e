"""Manifests, `images/<slug>/runtime.toml`: the values of a new runtime's row, and resets to them."""

import hashlib
import json
import logging
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import transaction

from runtimes import packages, smoke
from runtimes.models import MIB, Limits, Runner, Runtime
from seccomp_profiles.models import SeccompProfile

log = logging.getLogger(__name__)

REQUIRED = ("slug", "name", "image", "source_file")
TEXTS = ("runner", "compile_command", "run_command", "function_command")
TEXT_LISTS = ("aliases", "modes", "preload", "preload_when_idle")
TABLES = ("environment", "limits", "pool", "packages")
# Marks a runtime that `make` builds by default; see scripts/setup/images.py.
CORE = "core"
# A command for /bin/sh in the image that prints the language's version; see inspections/describing.py.
VERSION = "version_command"
POOL = {"min": "pool_min", "max": "pool_max"}
# The pool must be able to grow beyond RAGFlow's fixed size, or it cannot serve a burst.
POOL_GROWTH = 4
POOL_LIMIT = 200
MAX_SHOWN = 100  # characters of a value in a message
# RAGFlow's own base images, which have no runner.
FOREIGN_IMAGE = "sandbox-base-"
SEEDED_BY = {
    "wall_time_ms": "SANDBOX_TIMEOUT",
    "cpu_time_ms": "SANDBOX_TIMEOUT",
    "memory_bytes": "SANDBOX_MAX_MEMORY",
    "pool_min": "SANDBOX_EXECUTOR_MANAGER_POOL_SIZE",
}


class ManifestError(Exception):
    """A manifest, or an environment variable that seeds its row, is not valid."""


@dataclass(frozen=True)
class Manifest:
    path: Path
    slug: str
    # Values by field of Runtime, for exactly the fields that the manifest names.
    fields: dict[str, Any]
    sha256: str
    core: bool = False
    version_command: str = ""


def load_all(folder: Path | None = None) -> list[Manifest]:
    """Return all manifests in the folder. Raises ManifestError, which names the file and the key."""
    folder = folder or settings.BASE_DIR / "images"
    manifests = [load(path) for path in sorted(folder.glob("*/runtime.toml"))]
    _refuse_shared_names(manifests)
    return manifests


def load(path: Path) -> Manifest:
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except ValueError as e:
        raise ManifestError(f"{path}: {e}") from e
    try:
        fields = _fields(data)
    except ValueError as e:
        raise ManifestError(f"{path}: {e}") from e
    if fields["slug"] != path.parent.name:
        raise ManifestError(f"{path}: slug: must be the folder's name, {path.parent.name!r}")
    # Hash the parsed data, so that a changed comment does not count as a change. The row has no version command.
    version_command = data.pop(VERSION, "")
    digest = hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()
    return Manifest(path, fields["slug"], fields, digest, data.get(CORE, False), version_command)


def _fields(data: dict[str, Any]) -> dict[str, Any]:
    _refuse_unknown(data, (*REQUIRED, *TEXTS, *TEXT_LISTS, *TABLES, CORE, VERSION, "smoke"))
    if missing := [key for key in REQUIRED if key not in data]:
        raise ValueError(f"{missing[0]}: is missing")
    for key in TABLES:
        _expect(isinstance(data.get(key, {}), dict), key, "must be a table")
    _expect(isinstance(data.get(CORE, False), bool), CORE, "must be true or false")
    _text(data.get(VERSION, ""), VERSION)
    fields: dict[str, Any] = {key: _text(data[key], key) for key in (*REQUIRED, *TEXTS) if key in data}
    fields |= {key: _text_list(data[key], key) for key in TEXT_LISTS if key in data}
    if "environment" in data:
        fields["environment"] = {k: _text(v, f"environment.{k}") for k, v in data["environment"].items()}
    if data.get("runner") == Runner.UNIVERSAL:
        # The modes follow from the commands.
        fields.setdefault("modes", ["script", "function"] if "function_command" in data else ["script"])
    fields["packages"] = data.get("packages", {})
    for ecosystem, problem in packages.problems(fields["packages"]).items():
        raise ValueError(f"packages.{ecosystem}: {problem}")
    smoke.check(data.get("smoke", []))
    fields["smoke"] = data.get("smoke", [])
    limits, pool = data.get("limits", {}), data.get("pool", {})
    _refuse_unknown(limits, Limits.__dataclass_fields__, "limits.")
    _refuse_unknown(pool, POOL, "pool.")
    fields |= {key: _limit(value, key) for key, value in limits.items()}
    fields |= {POOL[key]: _whole_number(value, f"pool.{key}") for key, value in pool.items()}
    return fields


def _refuse_unknown(table: dict[str, Any], known: Iterable[str], prefix: str = "") -> None:
    known = tuple(known)
    for key in table:
        _expect(key in known, f"{prefix}{key}", f"unknown key; known: {', '.join(known)}")


def _expect(condition: bool, key: str, problem: str) -> None:
    if not condition:
        raise ValueError(f"{key}: {problem}")


def _text(value: Any, key: str) -> str:
    _expect(isinstance(value, str), key, "must be a string")
    return str(value)


def _text_list(value: Any, key: str) -> list[str]:
    texts = isinstance(value, list) and all(isinstance(v, str) for v in value)
    _expect(texts, key, "must be a list of strings")
    return list(value)


def _whole_number(value: Any, key: str) -> int:
    # In Python, a TOML boolean is an int.
    _expect(isinstance(value, int) and not isinstance(value, bool), key, "must be a whole number")
    return int(value)


def _limit(value: Any, key: str) -> Any:
    name, kind = f"limits.{key}", Limits.__dataclass_fields__[key].type
    if kind is str:
        return _text(value, name)
    if kind is float and isinstance(value, float):
        return value
    return _whole_number(value, name)


def _refuse_shared_names(manifests: list[Manifest]) -> None:
    owner: dict[str, Manifest] = {}
    for manifest in manifests:
        for name in (manifest.slug, *manifest.fields.get("aliases", ())):
            if other := owner.get(name):
                raise ManifestError(f"{manifest.path}: aliases: {name!r} is taken by {other.path}")
            owner[name] = manifest


# --- From a manifest to a row ----------------------------------------------------------------------------


def sync(manifests: Iterable[Manifest], *, reset: Iterable[str] = ()) -> list[str]:
    """Create the missing rows, and return a line for each change made or difference found.

    An existing row belongs to the administrator: a changed manifest is only reported. Rows whose slug is in `reset`
    get the values of a new row.
    """
    reset = set(reset)
    lines = []
    for manifest in manifests:
        with transaction.atomic():
            row = Runtime.objects.select_for_update().filter(slug=manifest.slug).first()
            if row is None:
                lines.append(_create(manifest))
                continue
            if _waited_for_its_image(row, manifest):
                row.enabled = True
                row.save()
                lines.append(f"runtime {row.slug}: enabled, its image is now built")
            if manifest.slug in reset:
                lines.append(_reset(row, manifest))
            elif row.manifest_sha256 != manifest.sha256:
                lines.append(_report(row, manifest))
    return lines + (_filter_all() if settings.SEED_SECCOMP else [])


def _filter_all() -> list[str]:
    """Apply SANDBOX_ENABLE_SECCOMP: give the default profile to every runtime without one, and return the lines.

    The variable may have been set after the rows were created. The profile `unconfined` keeps a runtime without filter.
    """
    profile = SeccompProfile.objects.get(name="default")
    lines = []
    for row in Runtime.objects.filter(seccomp_profile=None):
        row.seccomp_profile = profile
        if row.enabled or row.revision > 1:
            row.save()
        else:
            # Keep revision 1: it marks a runtime that waits for its image. It was never enabled, so no run has it.
            row.save(update_fields=["seccomp_profile"])
        lines.append(f"runtime {row.slug}: filtered by the profile {profile}, because of SANDBOX_ENABLE_SECCOMP")
    return lines


def _create(manifest: Manifest) -> str:
    row = Runtime(**_seeded(manifest), manifest_sha256=manifest.sha256, enabled=_is_built(manifest))
    _save(row, manifest)
    off = "" if row.enabled else f"; disabled until `make build RUNTIMES={row.slug}` and `make start`"
    return f"runtime {row.slug}: created from its manifest{off}"


def _is_built(manifest: Manifest) -> bool:
    """Return whether the image is built, according to `make`: this process has no access to Docker."""
    built: list[str] | None = settings.BUILT_RUNTIMES
    return manifest.core if built is None else manifest.slug in built


def _waited_for_its_image(row: Runtime, manifest: Manifest) -> bool:
    """Return whether the row was created disabled for lack of an image, was never changed, and has its image now."""
    return not row.enabled and row.revision == 1 and _is_built(manifest)


def _reset_fields(row: Runtime, manifest: Manifest, names: Iterable[str], *, drop_build: bool) -> str:
    names = set(names)
    changes = [change for change in _compared(row, manifest) if change[0] in names]
    # The image of a live build has the build's packages, whatever the row says.
    drop_build = bool(row.built_image) and (drop_build or "packages" in {name for name, _, _ in changes})
    if not changes and not drop_build:
        return f"runtime {row.slug}: already equals its manifest"
    wanted = _seeded(manifest)
    for name, _, _ in changes:
        setattr(row, name, wanted[name])
    if drop_build:
        row.drop_build()
        row.packages = plain_packages(row)
    if not _differences(row, manifest):
        row.manifest_sha256 = manifest.sha256
    _save(row, manifest)
    done = [*map(_describe, changes), *(["the build is no longer live"] if drop_build else [])]
    return f"runtime {row.slug}: reset to its manifest ({'; '.join(done)})"


def _reset(row: Runtime, manifest: Manifest) -> str:
    changes = _differences(row, manifest)
    if not changes and row.manifest_sha256 == manifest.sha256 and not row.built_image:
        return f"runtime {row.slug}: already equals its manifest"
    for name, value in _seeded(manifest).items():
        setattr(row, name, value)
    row.drop_build()
    row.manifest_sha256 = manifest.sha256
    _save(row, manifest)
    return f"runtime {row.slug}: reset to its manifest ({'; '.join(changes) or 'no differences'})"


def _report(row: Runtime, manifest: Manifest) -> str:
    changes = "; ".join(_differences(row, manifest)) or "nothing in the row"
    return f"runtime {row.slug}: not changed, although its manifest has changed (--reset would change {changes})"


def _differences(row: Runtime, manifest: Manifest) -> list[str]:
    return [_describe(change) for change in _compared(row, manifest)]


def _describe(change: tuple[str, Any, Any]) -> str:
    name, present, wanted = change
    return f"{name}: {_short(present)} → {_short(wanted)}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) < MAX_SHOWN else f"{text[:MAX_SHOWN]}…"


def _compared(row: Runtime, manifest: Manifest) -> list[tuple[str, Any, Any]]:
    wanted = {name: _plain(value) for name, value in _seeded(manifest).items()}
    present = {name: _plain(getattr(row, name)) for name in wanted}
    return [(name, present[name], wanted[name]) for name in wanted if present[name] != wanted[name]]


def differences(row: Runtime) -> list[tuple[str, Any, Any]] | None:
    """Return (field, current value, value after a reset) for each difference; None for a runtime without a manifest."""
    path = settings.BASE_DIR / "images" / row.slug / "runtime.toml"
    return _compared(row, load(path)) if path.exists() else None


def plain_packages(row: Runtime) -> dict[str, list[str]]:
    """Return the packages that the runtime names without a build: its manifest's, if its image is the manifest's."""
    path = settings.BASE_DIR / "images" / row.slug / "runtime.toml"
    try:
        seeded = _seeded(load(path)) if path.exists() else {}
    except ManifestError:
        return {}
    packages: dict[str, list[str]] = seeded["packages"] if seeded.get("image") == row.image else {}
    return packages


def reset_one(row: Runtime, names: Iterable[str] | None = None, *, drop_build: bool = False) -> str:
    """Reset these fields, or all that a manifest determines, and return a description of the changes.

    Resetting all fields or `packages` also stops using the live build's image, as `drop_build` does.

    Raises ManifestError, and FileNotFoundError if there is no manifest.
    """
    manifest = load(settings.BASE_DIR / "images" / row.slug / "runtime.toml")
    with transaction.atomic():
        row = Runtime.objects.select_for_update().get(pk=row.pk)
        if names is None:
            return _reset(row, manifest)
        return _reset_fields(row, manifest, names, drop_build=drop_build)


def _plain(value: Any) -> Any:
    return float(value) if hasattr(value, "as_tuple") else value


def _save(row: Runtime, manifest: Manifest) -> None:
    try:
        row.full_clean()
    except ValidationError as e:
        field, messages = next(iter(e.message_dict.items()))
        source = SEEDED_BY.get(field)
        where = f"{source} (runtime {manifest.slug})" if source else str(manifest.path)
        raise ManifestError(f"{where}: {field}: {' '.join(messages)}") from e
    row.save()


def _seeded(manifest: Manifest) -> dict[str, Any]:
    """Return the values of a new row: the manifest's, overridden by RAGFlow's variables, which the operator has set."""
    pristine = Runtime()
    fields = {name: getattr(pristine, name) for name in fields_from_manifest()} | manifest.fields
    fields["wall_time_ms"] = fields["cpu_time_ms"] = settings.SEED_TIMEOUT_MS
    # Some languages do not start with less memory than their manifest states.
    fields["memory_bytes"] = max(settings.SEED_MEMORY_BYTES, manifest.fields.get("memory_bytes", 0))
    _fit_files(fields)
    # Runtimes without warm sandboxes stay so: the variable is about the languages that RAGFlow knows.
    if fields["pool_min"]:
        fields["pool_min"] = settings.SEED_POOL_SIZE
        growth = min(POOL_GROWTH * settings.SEED_POOL_SIZE, POOL_LIMIT)
        fields["pool_max"] = max(fields["pool_max"], growth)
    fields["image"] = _seeded_image(manifest)
    return fields


def fields_from_manifest() -> tuple[str, ...]:
    """Return the fields of Runtime that a manifest determines. Those it does not name get their defaults."""
    texts = (*REQUIRED, *TEXTS, *TEXT_LISTS)
    return (*texts, "environment", "packages", "smoke", *Limits.__dataclass_fields__, *POOL.values())


def _fit_files(fields: dict[str, Any]) -> None:
    """Shrink /workspace and /tmp, which live in memory, to half of it if they do not fit. Keeps their ratio."""
    files = fields["workspace_bytes"] + fields["tmp_bytes"]
    memory = fields["memory_bytes"]
    if files > memory:
        for name in ("workspace_bytes", "tmp_bytes"):
            fields[name] = max(fields[name] * memory // (2 * files) // MIB, 1) * MIB


def _seeded_image(manifest: Manifest) -> str:
    own: str = manifest.fields["image"]
    image: str = settings.SEED_IMAGES.get(manifest.slug, "")
    if FOREIGN_IMAGE in image:
        log.warning(
            "runtime %s: %s is RAGFlow's own image and has no runner; keeping %s", manifest.slug, image, own
        )
        return own
    return image or own
