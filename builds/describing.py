"""What a runtime's image says about itself. The image is not trusted: everything is checked, bounded and written anew.

Its files are read from a container that has not started. What only its interpreters know, they say without a network
and without secrets (facts.py, facts.js).
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from builds import mirrors
from builds.record import BuildFailed

STATUS = "/var/lib/dpkg/status"
ARCHITECTURES = "/var/lib/dpkg/arch"
NODE_LOCK = "/node_modules/.package-lock.json"
SOURCES = ("/etc/apt/sources.list", "/etc/apt/sources.list.d")
PREFERENCES = ("/etc/apt/preferences", "/etc/apt/preferences.d")
KEYS = ("/etc/apt/trusted.gpg", "/etc/apt/trusted.gpg.d", "/etc/apt/keyrings", "/usr/share/keyrings")
RELEASE = ("/etc/os-release", "/usr/lib/os-release")
# Of the fetching image.
DISTRIBUTION_KEYS = (
    "/usr/share/keyrings/debian-archive-keyring.gpg",
    "/usr/share/keyrings/ubuntu-archive-keyring.gpg",
)
# Where the fetching container has the keys of the image.
KEYS_FOLDER = "/fetch/keys"
STATUS_FIELDS = {
    "package", "status", "essential", "protected", "important", "priority", "section", "architecture", "multi-arch",
    "source", "version", "replaces", "provides", "depends", "pre-depends", "recommends", "suggests", "breaks",
    "conflicts",
}  # fmt: skip
FIELD = re.compile(r"([A-Za-z0-9-]+): ([\x20-\x7e]*)")
WORD = re.compile(r"[A-Za-z0-9.~+_/-]+")
PLAIN = re.compile(r"[\x20-\x7e]*")
MAX_INSTALLED = 5000
MAX_REQUIRES = 1000
OLDEST_PYTHON = (3, 8)


@dataclass(frozen=True)
class AptImage:
    status: str
    sources: str
    preferences: str
    architectures: list[str]
    keys: dict[str, bytes]  # by path in the image
    left_out: list[str]  # hosts of sources that are not used


def apt_image(files: Mapping[str, bytes]) -> AptImage:
    """Return what apt must know about the image, from its files. Raises BuildFailed."""
    texts = {path: content.decode(errors="replace") for path, content in files.items()}
    status = _status(texts.get(STATUS, ""))
    if not status:
        raise BuildFailed(
            "apt: this image has no list of Debian packages: packages can only be added to images based on Debian"
        )
    architecture = next(iter(re.findall(r"^Package: dpkg\n(?:.+\n)*?Architecture: (\S+)$", status, re.M)), "amd64")
    foreign = texts.get(ARCHITECTURES, "").split()
    architectures = [name for name in dict.fromkeys([architecture, *foreign]) if re.fullmatch(r"[a-z0-9-]+", name)]
    keys = {path: content for path, content in files.items() if path.startswith(KEYS)}
    sources = _host_sources(texts)
    left_out: list[str] = []
    if not sources:
        sources, left_out = image_sources(texts, list(keys))
    preferences = "\n\n".join(text for path, text in sorted(texts.items()) if path.startswith(PREFERENCES))
    return AptImage(status, sources, _plain(preferences), architectures[:8], keys, left_out)


def _host_sources(texts: Mapping[str, str]) -> str:
    """Return the host's sources if they are of the image's release of Debian."""
    host = mirrors.host_file("apt.sources")
    for path in RELEASE:
        if found := re.search(r"^VERSION_CODENAME=\"?([a-z]+)\"?$", texts.get(path, ""), re.M):
            return host if re.search(rf"\b{found[1]}\b", host) else ""
    return ""


def _status(text: str) -> str:
    """Return the installed packages with the fields that apt decides by."""
    kept = []
    for paragraph in text.split("\n\n"):
        fields = [
            line
            for line in paragraph.split("\n")
            if (found := FIELD.fullmatch(line)) and found[1].lower() in STATUS_FIELDS
        ]
        if any(line.startswith("Package: ") for line in fields):
            kept.append("\n".join(fields) + "\n")
    return "\n".join(kept)


def _plain(text: str) -> str:
    return "".join(line + "\n" for line in text.splitlines() if PLAIN.fullmatch(line))


def image_sources(texts: Mapping[str, str], keys: list[str]) -> tuple[str, list[str]]:
    """Return the image's own sources (deb822), and the hosts of those left out.

    Used are hosts that the host's own sources name, checked with the fetching image's keys, and those that
    SANDBOX_BUILD_HOSTS names, checked with the image's unless it asks for the keys of Debian or Ubuntu.
    """
    rendered, left_out = [], []
    for entry in _entries(texts):
        uris = []
        for uri in entry["uris"].split():
            url = urlsplit(uri)
            if url.scheme not in mirrors.PORTS or not url.hostname or not PLAIN.fullmatch(uri):
                continue
            ours = mirrors.is_of_apt(url.scheme, url.hostname, url.port)
            if ours or mirrors.is_named(url.scheme, url.hostname, url.port):
                uris.append((uri, ours))
            else:
                left_out.append(url.hostname)
        suites = [word for word in entry["suites"].split() if WORD.fullmatch(word)]
        components = [word for word in entry["components"].split() if WORD.fullmatch(word)]
        for uri, ours in uris:
            signed_by = " ".join(DISTRIBUTION_KEYS) if ours else _keys(entry["signed-by"], keys)
            lines = ["Types: deb", f"URIs: {uri}", f"Suites: {' '.join(suites)}"]
            lines += [f"Components: {' '.join(components)}"] if components else []
            rendered.append("\n".join([*lines, f"Signed-By: {signed_by}", ""]))
    return "\n".join(rendered), list(dict.fromkeys(left_out))


def _keys(signed_by: str, keys: list[str]) -> str:
    if ours := [path for path in signed_by.split() if path in DISTRIBUTION_KEYS]:
        return " ".join(ours)
    named = [path for path in signed_by.split() if path in keys]
    trusted = [path for path in keys if path.startswith(KEYS[0])]
    return " ".join(f"{KEYS_FOLDER}{path}" for path in named or trusted)


def _entries(texts: Mapping[str, str]) -> Iterator[dict[str, str]]:
    for path, text in sorted(texts.items()):
        if path.startswith(SOURCES) and path.endswith(".sources"):
            yield from _paragraphs(text)
        elif path.startswith(SOURCES) and path.endswith(".list"):
            yield from _lines(text)


def _paragraphs(text: str) -> Iterator[dict[str, str]]:
    for paragraph in re.split(r"\n\s*\n", text):
        fields = dict.fromkeys(("types", "uris", "suites", "components", "signed-by", "enabled"), "")
        name = ""
        for line in paragraph.splitlines():
            if line.startswith((" ", "\t")):
                fields[name] = f"{fields.get(name, '')} {line.strip()}"
            elif not line.startswith("#"):
                name, _, value = line.partition(":")
                name = name.strip().lower()
                fields[name] = value.strip()
        if "deb" in fields["types"].split() and fields["enabled"].lower() not in ("no", "false"):
            yield fields


def _lines(text: str) -> Iterator[dict[str, str]]:
    for line in text.splitlines():
        if found := re.fullmatch(r"\s*deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)([^#]*)(?:#.*)?", line):
            options = dict(word.partition("=")[::2] for word in (found[1] or "").split())
            signed_by = options.get("signed-by", "").replace(",", " ")
            yield {"uris": found[2], "suites": found[3], "components": found[4], "signed-by": signed_by}


# --- Python ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PythonImage:
    arguments: list[str]  # pip's options that choose wheels
    markers: dict[str, str]
    installed: dict[str, str]  # METADATA by the name of its folder
    too_old: bool  # for the fetching image's own pip


def python_image(facts: Any) -> PythonImage:
    """Return what pip must know about the image, from what its Python says. Raises BuildFailed."""
    try:
        version = tuple(int(part) for part in facts["version"])[:3]
        abi, machine = _matching(r"[a-z0-9_]+", facts["abi"]), _matching(r"[a-z0-9_]+", facts["machine"])
        libc, major, minor = facts["libc"]
        implementation = {"cpython": "cp", "pypy": "pp"}[facts["implementation"]]
        markers_ = {str(name): _matching(PLAIN.pattern, value) for name, value in facts["markers"].items()}
        installed = dict(_metadata(distribution) for distribution in facts["installed"][:MAX_INSTALLED])
        tags = list(platforms(str(libc), int(major), min(int(minor), 999), machine))
    except (KeyError, TypeError, ValueError, AttributeError) as e:
        raise BuildFailed("pip: this image's python3 does not say what it is") from e
    if version < OLDEST_PYTHON:
        raise BuildFailed("pip: this image's Python is older than 3.8")
    arguments = [
        f"--python-version={'.'.join(map(str, version))}", f"--implementation={implementation}", f"--abi={abi}",
        *(f"--platform={tag}" for tag in tags),
    ]  # fmt: skip
    return PythonImage(arguments, markers_, installed, version < (3, 9))


def platforms(libc: str, major: int, minor: int, machine: str) -> Iterator[str]:
    """Yield the platform tags of wheels, the newest libc first."""
    if libc == "musl":
        yield from (f"musllinux_{major}_{n}_{machine}" for n in range(minor, -1, -1))
    else:
        intel = machine in ("x86_64", "i686")
        names = {17: "manylinux2014"} | ({12: "manylinux2010", 5: "manylinux1"} if intel else {})
        for n in range(minor, 4 if intel else 16, -1):
            yield f"manylinux_2_{n}_{machine}"
            if n in names:
                yield f"{names[n]}_{machine}"
    yield f"linux_{machine}"


def _metadata(distribution: Mapping[str, Any]) -> tuple[str, str]:
    name = _matching(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,200}[A-Za-z0-9])?", distribution["name"])
    version = _matching(r"[A-Za-z0-9][A-Za-z0-9.!+_-]{0,100}", distribution["version"])
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    for label, values in (("Requires-Dist", distribution["requires"]), ("Provides-Extra", distribution["extras"])):
        for value in values[:MAX_REQUIRES]:
            # An address would be asked for; the forwarder refuses it.
            if PLAIN.fullmatch(value) and "@" not in value:
                lines.append(f"{label}: {value}")
    return f"{name.replace('-', '_')}-{version}.dist-info", "\n".join(lines) + "\n"


def _matching(pattern: str, value: Any) -> str:
    if not isinstance(value, str) or len(value) > 300 or not re.fullmatch(pattern, value):
        raise ValueError
    return value


# --- Node.js -----------------------------------------------------------------------------------------------------


def node_image(facts: Any) -> dict[str, str]:
    """Return version, processor and system of the image's Node.js. Raises BuildFailed."""
    try:
        return {
            "version": _matching(r"v\d+\.\d+\.\d+[A-Za-z0-9.+-]*", facts["version"]),
            "arch": _matching(r"[a-z0-9]+", facts["arch"]),
            "platform": _matching(r"[a-z0-9]+", facts["platform"]),
        }
    except (KeyError, TypeError, ValueError) as e:
        raise BuildFailed("npm: this image's node does not say what it is") from e


def node_modules(lock: bytes) -> dict[str, str]:
    """Return the packages in the image's /node_modules: version by name."""
    try:
        packages = json.loads(lock or b"{}").get("packages", {})
        paths: Iterable[tuple[str, Any]] = list(packages.items())[: MAX_INSTALLED * 4]
    except (ValueError, AttributeError, RecursionError) as e:
        raise BuildFailed(f"npm: {NODE_LOCK} of this image is damaged") from e
    found = {}
    for path, package in paths:
        name = re.fullmatch(r"node_modules/((?:@[a-z0-9~][a-z0-9._~-]*/)?[A-Za-z0-9~][A-Za-z0-9._~-]*)", path)
        version = package.get("version") if isinstance(package, dict) else None
        if name and isinstance(version, str) and re.fullmatch(r"\d+\.\d+\.\d+[0-9A-Za-z.+-]*", version):
            found[name[1]] = version
    return found
