"""Where runsc comes from: gVisor's signed apt repository, its Go module, or the distribution's package."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sandboxes.gvisor import FILTERS
from scripts.setup import apt
from scripts.setup.docker import on_path
from scripts.setup.host import ROOT, STATE, SetupError, must, parse_version, release, run

Source = Callable[[Path], None]  # writes runsc, and what belongs beside it, into the folder
# go.mod pins the version of gVisor, go.sum the hashes of its source and of what it needs.
MODULE = ROOT / "scripts/setup/runsc"
PACKAGE = "gvisor.dev/gvisor/runsc"
# From this version on, go fetches the toolchain that a module asks for.
GO_FLOOR = (1, 21)
BUILD_S = 900


@dataclass(frozen=True)
class Repository:
    url: str
    key_url: str
    fingerprint: str


OFFICIAL = Repository(
    "https://storage.googleapis.com/gvisor/releases",
    "https://gvisor.dev/archive.key",
    "6F1DF85E3A71C24918E727D56FC6D554E32BD943",
)
FETCH = "import sys, urllib.request as u; sys.stdout.write(u.urlopen(sys.argv[1], timeout=4).read().decode())"


def from_repository(folder: Path, repository: Repository = OFFICIAL) -> None:
    """Download and unpack gVisor's package. Neither apt's sources nor the installed packages change."""
    check, fix = f"gVisor's apt repository ({repository.url})", "run `make` where it can be reached"
    work = folder / "apt"
    for name in ("lists/partial", "archives/partial", "tree"):
        (work / name).mkdir(parents=True)
    # Where the repository cannot be reached, this ends it: in a process of its own, because looking up a name has no
    # time limit.
    key = run([sys.executable, "-c", FETCH, repository.key_url], timeout=5)
    if key.returncode != 0:
        raise SetupError(check, "not reachable", fix)
    if shutil.which("gpg") is None:
        apt.install(["gpg"])
    found = fingerprints(key.stdout)
    if found != [repository.fingerprint]:
        raise SetupError(check, f"signed by another key: {', '.join(found) or 'none'}", fix)
    (work / "key.asc").write_text(key.stdout, encoding="utf-8")
    source = f"deb [signed-by={work}/key.asc] {repository.url} release main\n"
    (work / "gvisor.list").write_text(source, encoding="utf-8")
    options = {
        "Dir::Etc::SourceList": f"{work}/gvisor.list",
        "Dir::Etc::SourceParts": "/dev/null",
        "Dir::State::Lists": f"{work}/lists",
        "Dir::Cache": str(work),
        "APT::Sandbox::User": "root",  # another user could not read this folder
        "APT::Update::Error-Mode": "any",
        "Acquire::Retries": "0",
        "Acquire::https::Timeout": "10",
    }
    words = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    for line in (["apt-get", *words, "-q", "update"], ["apt-get", *words, "-q", "download", "runsc"]):
        must(line, check=check, fix=fix, cwd=work, env=apt.APT_ENV, timeout=300)
    package = next(work.glob("runsc_*.deb"))
    must(["dpkg-deb", "--extract", package, work / "tree"], check=check, fix=fix)
    shutil.copytree(work / "tree/usr/bin", folder, dirs_exist_ok=True)
    shutil.rmtree(work)


def fingerprints(key: str) -> list[str]:
    """Return the fingerprints of the primary keys in an armoured key."""
    shown = run(["gpg", "--show-keys", "--with-colons"], stdin=key).stdout
    return re.findall(r"^pub:.*\n(?:.*\n)??fpr:+(\w+):", shown, re.MULTILINE)


def from_module(folder: Path) -> None:
    """Build gVisor's Go module: three minutes on two cores. Go's own configuration names the proxy."""
    version = pinned_version()
    caches, source = STATE / "go", STATE / "go/source"
    shutil.rmtree(source, ignore_errors=True)
    shutil.copytree(MODULE, source)
    environment = {
        "CGO_ENABLED": "0",
        "GOTOOLCHAIN": "auto",  # a newer one comes through the module proxy, verified by Go's checksum database
        "GOWORK": "off",
        "GOPATH": str(caches),
        "GOMODCACHE": str(caches / "mod"),
        "GOCACHE": str(caches / "build"),
        "GOGC": "200",  # the compiler collects its garbage less often: 5 % less work, at most 1 GB of memory
    }
    command = go()
    # The linker drops what debuggers read, so the compiler need not write it.
    flags = ["-mod=vendor", "-trimpath", "-buildvcs=false", "-gcflags=all=-dwarf=false"]
    for words in (
        ["mod", "vendor"],  # checks the hashes of go.sum; a module itself must not be changed
        ["run", *flags, "./filters"],
        ["build", *flags, "-ldflags", f"-s -w -X {PACKAGE}/version.version={version}{FILTERS}",
         "-o", str(folder / "runsc"), PACKAGE],
    ):  # fmt: skip
        must(
            # The images are built at the same time, and are more work.
            ["nice", "-n", "10", command, *words],
            check=f"building gVisor {version} from its Go module",
            fix="make the Go module proxy reachable (`go env GOPROXY`), then run `make`",
            env=environment, timeout=BUILD_S, cwd=source,
        )  # fmt: skip
    # A failed build keeps the caches for the next one.
    run(["chmod", "-R", "u+w", caches])  # go makes its modules read-only
    shutil.rmtree(caches)


def pinned_version() -> str:
    found = re.search(
        r"^\s*gvisor\.dev/gvisor (\S+)", (MODULE / "go.mod").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert found  # noqa: S101 -- a file of ours; a test reads it
    return found[1]


def go() -> str:
    """Return a go command that can fetch the toolchain that gVisor needs; install Debian's if there is none."""
    if not (found := usable_go()):
        distribution_sources()
        apt.install(apt.package_names(["go"], release()))
        found = usable_go()
    if not found:
        raise SetupError("Go", "none that is at least 1.21", "install Go, then run `make`")
    return found


def usable_go() -> str | None:
    candidates = [*on_path("go"), "/usr/local/go/bin/go"]
    # In MODULE, go would fetch the toolchain only to tell its version.
    return next((path for path in candidates if parse_version(go_version(path)) >= GO_FLOOR), None)


def go_version(path: str) -> str:
    return run([path, "version"], env={"GOTOOLCHAIN": "local"}).stdout


def from_distribution() -> Path:
    """Install the distribution's runsc, which may be years old."""
    distribution_sources()
    here = release()
    if not apt.is_offered("runsc"):
        raise SetupError(
            "gVisor",
            f"neither gVisor's repository nor a Go module proxy answers, and {here.distribution} {here.version} has no"
            " package `runsc`",
            "install gVisor's own release (https://gvisor.dev/docs/user_guide/install/), then run `make`",
        )
    apt.install(apt.package_names(["gvisor"], here))
    return Path(on_path("runsc")[0])


def distribution_sources() -> None:
    if (release().distribution, release().version) == ("debian", "12"):
        apt.add_trixie()
