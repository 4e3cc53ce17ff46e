"""Describe a runtime: collect what a program sees in a sandbox of the runtime, from the image itself.

A shell script collects the facts as an ordinary program, as the program's user and under its limits. It needs nothing
but /bin/sh in the image.
"""

import copy
import re
import shlex
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from django.conf import settings

from executions.programs import job_of
from inspections.laboratory import Laboratory
from runtimes.manifests import ManifestError, load
from runtimes.models import MIB, Limits, OutputAction, Runner, Runtime
from sandboxes.configuration import profile_in_force
from sandboxes.engine import EngineError
from seccomp_profiles.models import UNCONFINED

SCRIPT = Path(__file__).with_name("describe.sh")
SECTION = "\x1e"
# Starting an interpreter to list its packages may take longer than a run is allowed to.
PATIENCE_MS = 60_000
OUTPUT_BYTES = 8 * MIB
MOST_COMPLAINT = 1000
# Set by the shell itself.
OF_THE_SHELL = ("PWD", "OLDPWD", "SHLVL", "_")
EXPORTED = re.compile(r"^(?:export|declare -x) ([A-Za-z_][A-Za-z0-9_]*)(?:=(.*))?$", re.DOTALL)
ECOSYSTEMS = {
    "pip": "Python packages",
    "npm": "npm packages",
    "gem": "Ruby gems",
    "php": "PHP extensions",
    "r": "R packages",
    "java": "Java modules",
    "debian": "Debian packages",
    "alpine": "Alpine packages",
}
SYSTEM = ("debian", "alpine")

Facts = dict[str, Any]


def described_as(runtime: Runtime) -> Runtime:
    """Return an unsaved copy of the runtime whose programs are shell scripts, in the same sandbox."""
    described = copy.copy(runtime)
    if runtime.runner == Runner.NATIVE:
        described.runner = Runner.UNIVERSAL
    described.compile_command = described.function_command = ""
    described.run_command = "/bin/sh {source}"
    described.preload, described.preload_when_idle = [], []
    return described


def version_command(runtime: Runtime) -> str:
    """Return the manifest's command, or else a guess: the compiler or interpreter with `--version`."""
    with suppress(FileNotFoundError, ManifestError):
        if command := load(settings.BASE_DIR / "images" / runtime.slug / "runtime.toml").version_command:
            return command
    words = shlex.split(runtime.compile_command or runtime.run_command)
    return f"{shlex.quote(words[0])} --version" if words and "{" not in words[0] else ""


def describe(laboratory: Laboratory, runtime: Runtime) -> Facts:
    """Return the facts. Raises Cancelled, and EngineError if the sandbox does not run the script.

    The laboratory is one for `described_as(runtime)`. The runtime's profile may refuse to execute a shell. Then the
    facts are collected without a filter.
    """
    in_force = profile_in_force(runtime)
    profile = in_force.profile.name if in_force else UNCONFINED
    rules = in_force.effective if in_force else None
    collected_under = profile
    try:
        said = collect(laboratory, runtime, rules)
    except EngineError:
        if rules is None:
            raise
        said = collect(laboratory, runtime, None)
        collected_under = UNCONFINED
    return parse(said) | {
        "limits": runtime.limits.as_dict(),
        "compiles": bool(runtime.compile_command),
        "network": str(runtime.network),
        "profile": profile,
        "collected_under": collected_under,
    }


def collect(laboratory: Laboratory, runtime: Runtime, rules: dict[str, Any] | None) -> dict[str, str]:
    """Return the script's sections by name. Raises EngineError if the script did not run to its end."""
    limits = patient(laboratory.limits)
    program = {"code": SCRIPT.read_text(encoding="utf-8"), "argv": [version_command(runtime)]}
    observed = laboratory.under(limits).run(job_of(program, laboratory.runtime, limits), rules)
    if observed.report and (said := sections(observed.report.stdout.decode(errors="replace"))):
        return said
    complaint = observed.report.stderr.decode(errors="replace")[-MOST_COMPLAINT:] if observed.report else ""
    ended = observed.verdict.outcome if observed.verdict else ""
    reason = ". ".join(part for part in (observed.start_error, ended, complaint.strip()) if part)
    raise EngineError(f"/bin/sh does not run to its end in a sandbox of this runtime: {reason}")


def patient(limits: Limits) -> Limits:
    """Return the limits with those raised that only the session enforces: the program does not see them."""
    return replace(
        limits,
        wall_time_ms=max(limits.wall_time_ms, PATIENCE_MS),
        cpu_time_ms=max(limits.cpu_time_ms, PATIENCE_MS),
        output_bytes=max(limits.output_bytes, OUTPUT_BYTES),
        output_action=OutputAction.CUT,
    )


def sections(output: str) -> dict[str, str]:
    found = {}
    for section in output.split(SECTION)[1:]:
        name, _, text = section.partition("\n")
        found[name] = text.replace("\0", "")
    return found if "end" in found else {}


def parse(said: dict[str, str]) -> Facts:
    os_release = dict(_assignments(said["os"]))
    status = {name: rest.split() for name, _, rest in _split(said["status"], ":")}
    memory = {name: rest.split() for name, _, rest in _split(said["memory"], ":")}
    limits = {name.strip(): rest.split()[0] for name, rest in _limits(said["limits"])}
    environment = environment_of(said["environment"])
    uid = _first(status.get("Uid"))
    home = environment.get("HOME", "")
    written = {folder.rstrip("/") or "/" for folder in said["written"].splitlines()}
    return {
        "version": next((line.strip() for line in said["version"].splitlines() if line.strip()), ""),
        "os": os_release.get("PRETTY_NAME") or os_release.get("NAME", ""),
        "kernel": " ".join(said["kernel"].split()[:3]),
        "user": {"name": _name_of(uid, said["passwd"]), "uid": uid, "gid": _first(status.get("Gid"))},
        "home": home,
        "home_is_writable": home in written,
        "folder": said["folder"].strip(),
        "written": sorted(path for path in written if path.rpartition("/")[0] not in written),
        "mounts": sorted(mounts(said["mounts"])),
        "memory_kib": int(_first(memory.get("MemTotal")) or 0),
        "processes": limits.get("Max processes", ""),
        "open_files": limits.get("Max open files", ""),
        "file_bytes": limits.get("Max file size", ""),
        "cpus": said["cpus"].strip(),
        "timezone": said["timezone"].strip(),
        "hostname": said["hostname"].strip(),
        "interfaces": sorted(name.strip() for name, colon, _ in _split(said["interfaces"], ":") if colon),
        "hosts": sorted({name for line in said["hosts"].splitlines() for name in line.split("#")[0].split()[1:]}),
        "running": said["processes"].split("\n")[:-1],
        "environment": environment,
        "packages": {name: found for name in ECOSYSTEMS if (found := packages(said[f"packages:{name}"]))},
    }


def environment_of(exported: str) -> dict[str, str]:
    """Parse the output of `export -p`, in which a value may have several lines."""
    statements = re.split(r"\n(?=(?:export|declare -x) )", exported.strip("\n"))
    found = {}
    for statement in statements:
        if (match := EXPORTED.match(statement)) and match[1] not in OF_THE_SHELL:
            found[match[1]] = _unquoted(match[2] or "")
    return dict(sorted(found.items()))


def _unquoted(value: str) -> str:
    try:
        return "".join(shlex.split(value))
    except ValueError:
        return value


def mounts(said: str) -> Iterator[list[Any]]:
    """Yield path, type and size, in the words of the mount option, of each mount in memory."""
    for line in said.splitlines():
        _, path, kind, options, *_ = line.split(" ")
        size = next((o.removeprefix("size=") for o in options.split(",") if o.startswith("size=")), "")
        if kind == "tmpfs" and size and "ro" not in options.split(","):
            yield [path, int(size) if size.isdigit() else size]


def packages(said: str) -> list[list[str]]:
    """Return name and version of each package, sorted, without repetitions."""
    lines = [line.split("\t") for line in said.splitlines() if line.count("\t") == 1]
    found = {(name.strip(), version.strip()) for name, version in lines if name.strip()}
    return [list(each) for each in sorted(found, key=lambda each: (each[0].lower(), each))]


def summary(facts: Facts) -> str:
    counted = [f"{len(found)} {ECOSYSTEMS[name]}" for name, found in facts["packages"].items()]
    return "; ".join([facts["version"] or "Version unknown", *counted]) + "."


def _split(text: str, mark: str) -> Iterator[tuple[str, str, str]]:
    return (line.partition(mark) for line in text.splitlines())


def _assignments(text: str) -> Iterator[tuple[str, str]]:
    return ((name, _unquoted(value)) for name, mark, value in _split(text, "=") if mark)


def _limits(text: str) -> Iterator[tuple[str, str]]:
    # The columns of /proc/self/limits have fixed widths.
    return ((line[:26], line[26:]) for line in text.splitlines() if line[26:].split())


def _first(words: list[str] | None) -> str:
    return words[0] if words else ""


def _name_of(uid: str, passwd: str) -> str:
    return next((name for name, _, rest in _split(passwd, ":") if rest.split(":")[1:2] == [uid]), "")
