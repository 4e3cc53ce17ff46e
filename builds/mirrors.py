"""The mirrors of this machine, as `make` wrote them: what the fetching container gets, and the way to each mirror."""

import configparser
import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from django.conf import settings

PORTS = {"http": 80, "https": 443}
APT_PROXY = re.compile(r'Acquire::(\w+)::Proxy(?:::([^\s"]+))?\s+"([^"]*)";')
NPM_PROXIES = ("proxy", "https-proxy", "noproxy")
NPM_SECRET = re.compile(r":_(?:authToken|auth|password)$|^_")
USER_INFO = re.compile(r"://([^\s/@]+)@")
# A shorter password could be part of any file.
SECRET_CHARS = 8


@dataclass(frozen=True)
class Mirrors:
    files: dict[str, str] = field(repr=False)  # for the fetching container; they name no proxy of the host
    routes: dict[str, dict[str, str]] = field(repr=False)  # host:port -> the host's own proxy or "", by tool
    secrets: tuple[str, ...] = field(repr=False)  # what no image and no log may contain


def host_file(name: str) -> str:
    """Return a file of the host's configuration. A missing file counts as empty."""
    path = settings.SANDBOX_BUILD_CONFIG / name
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def read(apt_sources: str, defaults: Mapping[str, str]) -> Mirrors:
    """Return the mirrors, with those of these sources of apt (deb822) for apt.

    `defaults`: where the installers fetch from if the host has no mirror; see images/fetch/defaults.py.
    """
    pip_conf, apt_conf, npmrc = host_file("pip_conf"), host_file("apt_conf"), _npmrc()
    environment = _environment(host_file("environment"))
    pip = _pip_addresses(pip_conf, defaults)
    npm = [value for name, value in npmrc.items() if name == "registry" or name.endswith(":registry")]
    if "registry" not in npmrc:
        npm.append(defaults["npm"])
    apt = addresses(apt_sources)
    apt_proxies = {(scheme, host): proxy for scheme, host, proxy in APT_PROXY.findall(apt_conf)}

    def by_environment(scheme: str, host: str) -> str:
        return _unless_direct(environment.get(f"{scheme}_proxy", ""), host, environment.get("no_proxy", ""))

    def by_apt(scheme: str, host: str) -> str:
        keys = [(scheme, host), (scheme, ""), ("http", host), ("http", "")]
        proxy = next((apt_proxies[key] for key in keys if key in apt_proxies), None)
        return by_environment(scheme, host) if proxy is None else "" if proxy == "DIRECT" else proxy

    def by_npm(scheme: str, host: str) -> str:
        proxy = (npmrc.get("https-proxy") if scheme == "https" else "") or npmrc.get("proxy")
        if not proxy or proxy == "null":
            return by_environment(scheme, host)
        return _unless_direct(proxy, host, npmrc.get("noproxy") or environment.get("no_proxy", ""))

    routes = {}
    for tool, of_tool, proxy_of in (("apt", apt, by_apt), ("pip", pip, by_environment), ("npm", npm, by_npm)):
        ends = [end for address in [*of_tool, *_named()] if (end := _end(address))]
        routes[tool] = {f"{host}:{port}": proxy_of(scheme, host) for scheme, host, port in ends}
    texts = [pip_conf, apt_conf, apt_sources, *environment.values(), *npmrc.values()]
    files = {
        "ca": host_file("ca"),
        "pip_conf": pip_conf,
        "npmrc": "".join(f"{name}={value}\n" for name, value in npmrc.items() if name not in NPM_PROXIES),
        "apt_conf": "".join(line + "\n" for line in apt_conf.splitlines() if "Proxy" not in line),
    }
    return Mirrors(files, routes, _secrets(texts, npmrc))


def addresses(text: str) -> list[str]:
    return re.findall(r"https?://\S+", text)


def is_of_apt(scheme: str, host: str, port: int | None) -> bool:
    """Return whether the host's own sources of apt name this host."""
    return (scheme, host, port or PORTS[scheme]) in map(_end, addresses(host_file("apt.sources")))


def is_named(scheme: str, host: str, port: int | None) -> bool:
    """Return whether SANDBOX_BUILD_HOSTS names this host."""
    return (host, port or PORTS[scheme]) in {(end[1], end[2]) for name in _named() if (end := _end(name))}


def _named() -> Iterable[str]:
    for name in settings.SANDBOX_BUILD_HOSTS:
        host, _, port = name.partition(":")
        yield from [f"https://{host}:{port}"] if port else [f"http://{host}", f"https://{host}"]


def _end(address: str) -> tuple[str, str, int] | None:
    """Return scheme, host and port; None for what is no address."""
    url = urlsplit(address)
    if url.scheme not in PORTS or not url.hostname:
        return None
    return url.scheme, url.hostname, url.port or PORTS[url.scheme]


def _pip_addresses(pip_conf: str, defaults: Mapping[str, str]) -> list[str]:
    parser = configparser.RawConfigParser()
    parser.read_string(pip_conf)
    options = dict(parser.items("global")) if parser.has_section("global") else {}
    found = [options.get("index-url") or defaults["pip"], *options.get("extra-index-url", "").split()]
    public = urlsplit(defaults["pip"]).hostname
    return found + [defaults["pip_files"] for address in found if urlsplit(address).hostname == public]


def _npmrc() -> dict[str, str]:
    lines = (line.partition("=") for line in host_file("npmrc").splitlines())
    return {name.strip(): value.strip() for name, found, value in lines if found}


def _environment(text: str) -> dict[str, str]:
    """Return the proxies that the file exports: NAME to value."""
    words = (shlex.split(line) for line in text.splitlines())
    pairs = (word[1].partition("=") for word in words if len(word) == 2 and word[0] == "export")
    return {name: value for name, _, value in pairs}


def _unless_direct(proxy: str, host: str, direct: str) -> str:
    names = [re.sub(r"^\*?\.|:\d+$", "", name) for name in re.split(r"[,\s]+", direct) if name]
    is_direct = any(name == "*" or host == name or host.endswith(f".{name}") for name in names)
    return "" if is_direct else proxy


def _secrets(texts: Iterable[str], npmrc: dict[str, str]) -> tuple[str, ...]:
    found = {value for name, value in npmrc.items() if NPM_SECRET.search(name)}
    for text in texts:
        for info in USER_INFO.findall(text):
            user, separator, password = info.partition(":")
            # A token may stand in place of the user, without a password.
            found |= {info, password, unquote(password)} if separator else {user, unquote(user)}
    return tuple(sorted(secret for secret in found if len(secret) >= SECRET_CHARS))
