"""Pass the machine's package mirrors and certificates to uv and to image builds.

Values are read at run time and kept in the environment or in a private temporary directory: a mirror's address may
contain a password, which must not end up in an image or in the repository.
"""

from __future__ import annotations

import configparser
import os
import re
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from scripts.setup import apt
from scripts.setup.docker import docker
from scripts.setup.host import ROOT, must, run

IN_BUILD_CA = "/run/secrets/ca"
BUILD_CONFIG = ROOT / ".build-config"
# Fetches the packages of builds, with the secrets of mirrors: builds know it by its content id, not by this name.
FETCH_TAG = "sandbox-platform/fetch:latest"
BUNDLES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")


@dataclass(frozen=True)
class PipConfig:
    index_url: str = ""
    extra_index_urls: tuple[str, ...] = ()
    trusted_hosts: tuple[str, ...] = ()
    cert: str = ""

    def render(self, cert: str) -> str:
        lines = ["[global]"]
        if self.index_url:
            lines.append(f"index-url = {self.index_url}")
        if self.extra_index_urls:
            lines.append("extra-index-url = " + "\n    ".join(self.extra_index_urls))
        if self.trusted_hosts:
            lines.append("trusted-host = " + "\n    ".join(self.trusted_hosts))
        if cert:
            lines.append(f"cert = {cert}")
        return "\n".join(lines) + "\n"

    def uv_environment(self) -> dict[str, str]:
        env = {"UV_PYTHON_DOWNLOADS": "never", "UV_NO_PROGRESS": "1", "UV_LINK_MODE": "copy"}
        if self.index_url:
            env["UV_DEFAULT_INDEX"] = self.index_url
        if self.extra_index_urls:
            env["UV_INDEX"] = " ".join(self.extra_index_urls)
        if self.trusted_hosts:
            env["UV_INSECURE_HOST"] = " ".join(self.trusted_hosts)
        if bundle := ca_bundle(self):
            env["SSL_CERT_FILE"] = bundle
        return env


def pip_config_files(environ: Mapping[str, str]) -> list[Path]:
    """Return pip's configuration files in pip's own order: later files win."""
    if environ.get("PIP_CONFIG_FILE") == os.devnull:
        return []
    home = Path(environ.get("HOME", "/root"))
    xdg = [
        Path(folder) / "pip/pip.conf" for folder in environ.get("XDG_CONFIG_DIRS", "/etc/xdg").split(":") if folder
    ]
    user = Path(environ.get("XDG_CONFIG_HOME") or home / ".config") / "pip/pip.conf"
    files = [*xdg, Path("/etc/pip.conf"), home / ".pip/pip.conf", user]
    if named := environ.get("PIP_CONFIG_FILE"):
        files.append(Path(named))
    return files


def read_pip_config(files: list[Path], environ: Mapping[str, str]) -> PipConfig:
    """Read only the options that name mirrors: local wheel directories and constraints do not exist inside a build."""
    values: dict[str, str] = {}
    for path in files:
        parser = configparser.RawConfigParser()
        try:
            parser.read(path, encoding="utf-8")
        except (OSError, configparser.Error):
            continue
        for section in ("global", "install"):
            if parser.has_section(section):
                values.update(parser.items(section))
    for name in ("index-url", "extra-index-url", "trusted-host", "cert"):
        if from_env := environ.get("PIP_" + name.upper().replace("-", "_")):
            values[name] = from_env

    def remote(text: str) -> tuple[str, ...]:
        return tuple(word for word in text.split() if word.startswith(("http://", "https://")))

    index = remote(values.get("index-url", ""))
    return PipConfig(
        index_url=index[0] if index else "",
        extra_index_urls=remote(values.get("extra-index-url", "")),
        trusted_hosts=tuple(values.get("trusted-host", "").split()),
        cert=values.get("cert", ""),
    )


def pip_config() -> PipConfig:
    return read_pip_config(pip_config_files(os.environ), os.environ)


def ca_bundle(pip: PipConfig) -> str:
    """Return the path of this machine's CA bundle, which includes a TLS-inspecting proxy's certificate, or ""."""
    named = [os.environ.get(name, "") for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")]
    return next((path for path in [*named, pip.cert, *BUNDLES] if path and Path(path).is_file()), "")


def read_npmrc(texts: list[str], environ: Mapping[str, str], cafile: str) -> str:
    """Merge several .npmrc files, later ones winning, and set the build's own certificate file."""
    wanted = re.compile(r"^(registry|@[^:]+:registry|//.+|always-auth|strict-ssl|proxy|https-proxy|noproxy)$")
    values: dict[str, str] = {}
    for text in texts:
        for line in text.splitlines():
            name, found, value = line.partition("=")
            if found and wanted.match(name.strip()):
                values[name.strip()] = value.strip()
    for name in ("npm_config_registry", "NPM_CONFIG_REGISTRY"):
        if environ.get(name):
            values["registry"] = environ[name]
    # npm expands ${NAME} from the environment, which is a different one inside the build.
    lines = [f"{name}={_expand(value, environ)}" for name, value in values.items()]
    if cafile:
        lines.append(f"cafile={cafile}")
    return "".join(line + "\n" for line in lines)


def _expand(value: str, environ: Mapping[str, str]) -> str:
    return re.sub(r"\$\{(\w+)\}", lambda found: environ.get(found[1], ""), value)


def npmrc() -> str:
    home = Path(os.environ.get("HOME", "/root"))
    user = Path(os.environ.get("NPM_CONFIG_USERCONFIG") or home / ".npmrc")
    texts = [
        path.read_text(encoding="utf-8", errors="replace")
        for path in (Path("/etc/npmrc"), Path("/usr/etc/npmrc"), Path("/usr/local/etc/npmrc"), user)
        if path.is_file()
    ]
    return read_npmrc(texts, os.environ, IN_BUILD_CA if ca_bundle(pip_config()) else "")


# No translated descriptions, which nobody reads in an image: they are a third of what `apt-get update` fetches. And
# dpkg does not wait for the disk after each file: a build that is cut off starts anew.
FASTER = 'Acquire::Languages "none";\nDPkg::Options:: "--force-unsafe-io";\n'


def apt_conf() -> str:
    dump = run(["apt-config", "dump"]).stdout
    proxies = [line for line in dump.splitlines() if re.match(r'Acquire::\S*Proxy\S* ".+";', line)]
    if ca_bundle(pip_config()):
        proxies.append(f'Acquire::https::CAInfo "{IN_BUILD_CA}";')
    return FASTER + "".join(line + "\n" for line in proxies)


def build_files() -> dict[str, str]:
    """Return mirrors and certificates by name: ca, pip_conf, npmrc, apt_conf, and on Debian apt_sources."""
    pip = pip_config()
    bundle = ca_bundle(pip)
    contents = {
        "ca": Path(bundle).read_text(encoding="utf-8", errors="replace") if bundle else "",
        "pip_conf": pip.render(IN_BUILD_CA if bundle else ""),
        "npmrc": npmrc(),
        "apt_conf": apt_conf(),
    }
    if sources := apt.trixie_sources():
        contents["apt_sources"] = "\n".join(source.render() for source in sources)
    return contents


def proxies() -> dict[str, str]:
    names = ("http_proxy", "https_proxy", "no_proxy")
    return {name: value for name in names if (value := os.environ.get(name) or os.environ.get(name.upper()))}


def write_build_config(folder: Path = BUILD_CONFIG, *, group: str = "") -> None:
    """Write the mirrors and certificates for the builds that workers make (see builds).

    Only `group` may read them: a mirror's address may contain a password.
    """
    files = build_files()
    files["apt.sources"] = files.pop("apt_sources", "")
    files["environment"] = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in proxies().items())
    files["fetch_image"] = fetch_image_id()
    folder.mkdir(exist_ok=True)
    folder.chmod(0o750)
    for name, text in files.items():
        path = folder / name
        path.touch(mode=0o600)
        path.write_text(text, encoding="utf-8")
        path.chmod(0o640)
    if group:
        must(["chgrp", "--recursive", group, folder], root=True, check="mirrors for builds", fix="make start")


def fetch_image_id() -> str:
    """Return the content id of the image that fetches packages, or "" if it is not built."""
    found = docker("image", "inspect", "--format", "{{.Id}}", FETCH_TAG)
    return found.stdout if found.returncode == 0 else ""


def renew_fetch_image(folder: Path = BUILD_CONFIG) -> None:
    """Write which image fetches packages, for a running stack whose image was built again."""
    path, built = folder / "fetch_image", fetch_image_id()
    if path.is_file() and path.read_text(encoding="utf-8") != built:
        path.write_text(built, encoding="utf-8")


@contextmanager
def build_secrets(apt_sources: str = "") -> Iterator[list[str]]:
    """Yield the `docker build` options that pass mirrors and certificates to a build as secrets.

    `apt_sources`: instead of those of this machine.
    """
    contents = build_files()
    if apt_sources:
        contents["apt_sources"] = apt_sources
    with TemporaryDirectory(prefix="sandbox-platform-build-") as folder:
        options = []
        for name, text in contents.items():
            path = Path(folder) / name
            path.write_text(text, encoding="utf-8")
            options += ["--secret", f"id={name},src={path}"]
        for proxy, value in proxies().items():
            # Docker predefines these build arguments and keeps them out of the image's history.
            options += ["--build-arg", f"{proxy}={value}"]
        yield options
