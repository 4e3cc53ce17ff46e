"""`make runtime-pages`: describe every built runtime from its image and write docs/runtimes/<slug>.md.

Runtimes have the values of their manifests. Pages of runtimes that are not built stay as they are.
"""

from __future__ import annotations

import os
import re
import sys
import textwrap
import uuid
from typing import Any

import django

from scripts.setup.host import ROOT
from scripts.setup.images import built_runtimes

FOLDER = ROOT / "docs" / "runtimes"
COMMAND = "make runtime-pages"


def describe(slug: str) -> dict[str, Any]:
    """Return the facts of a runtime as its manifest says. Raises EngineError."""
    from inspections import describing
    from inspections.laboratory import Laboratory
    from runtimes.manifests import load
    from runtimes.models import Runtime
    from sandboxes.configuration import SandboxConfiguration
    from sandboxes.docker_engine import get_engine

    runtime = Runtime(**load(ROOT / "images" / slug / "runtime.toml").fields)
    configuration = SandboxConfiguration.of_runtime(describing.described_as(runtime))
    return describing.describe(Laboratory.of(get_engine(), None, configuration), runtime)


def render(slug: str, facts: dict[str, Any]) -> str:
    from inspections import telling
    from runtimes.manifests import load

    manifest = load(ROOT / "images" / slug / "runtime.toml").fields
    lines = [
        f"<!-- Generated from the image by `{COMMAND}`. Do not edit. -->",
        "",
        f"# {manifest['name']}",
        "",
        *wrapped(
            f"What a program of the runtime `{slug}` sees, collected by a program in a sandbox of the shipped image, "
            f"with the defaults of `images/{slug}/runtime.toml`. An administrator may have changed limits, packages "
            "and network: the runtime's page in the admin shows the same facts of the running platform, and so does "
            f"`GET /api/v1/runtimes/{slug}/description`. How languages are called: [runtimes.md](../runtimes.md)."
        ),
    ]
    for group in telling.groups(facts):
        rows = [(row.label, cell(row)) for row in group.rows if not row.of_this_machine]
        lines += ["", f"## {group.title}", "", *table(("fact", "value"), rows)]
    lines += ["", "## Environment variables", ""]
    lines += table(("name", "value"), [(f"`{name}`", f"`{value}`") for name, value in telling.environment(facts)])
    for packages in telling.packages(facts):
        lines += ["", f"## {packages.title}", ""]
        if packages.is_system:
            lines += wrapped("Without the distribution's revisions, which security updates change: ")
            names = [f"{name} {upstream(version)}" for name, version in packages.found]
            lines += ["", *wrapped(", ".join(names) + ".")]
        else:
            lines += table(("package", "version"), [(f"`{name}`", version) for name, version in packages.found])
    return "\n".join(lines) + "\n"


def cell(row: Any) -> str:
    if row.items:
        return ", ".join(f"`{value}` ({note})" if note else f"`{value}`" for value, note in row.items)
    value = f"`{row.value}`" if row.is_code else row.value
    return f"{value}; {row.note}" if row.note else value


def table(head: tuple[str, str], rows: list[tuple[str, str]]) -> list[str]:
    body = [f"| {escaped(left)} | {escaped(right)} |" for left, right in rows]
    return [f"| {head[0]} | {head[1]} |", "|---|---|", *body]


def escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def upstream(version: str) -> str:
    """Return a Debian version without epoch, revision and security update: `1:2.3-4+deb13u1` is `2.3`."""
    plain = re.sub(r"^[0-9]+:|[+~]deb[0-9]+u[0-9]+$", "", version)
    return plain.rpartition("-")[0] or plain


def wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, 120, break_long_words=False, break_on_hyphens=False)


def main(wanted: list[str]) -> int:
    FOLDER.mkdir(exist_ok=True)
    for slug in wanted or sorted(built_runtimes()):
        path = FOLDER / f"{slug}.md"
        path.write_text(render(slug, describe(slug)), encoding="utf-8")
        print(path.relative_to(ROOT))
    return 0


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "sandbox_platform.settings")
    # Of its own, so that the keeper of this machine does not take the sandboxes for leftovers.
    os.environ["SANDBOX_NODE"] = f"runtime-pages-{uuid.uuid4().hex[:12]}"
    django.setup()
    sys.exit(main(sys.argv[1:]))
