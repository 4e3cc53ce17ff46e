"""Mirrors of pip, npm and apt on loopback, which ask for a password. They hold the smallest packages there are."""

import base64
import hashlib
import io
import json
import subprocess
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

SECRET = "planted-secret-8c1f"
TOKEN = "planted-token-77aa"
BASIC = f"Basic {base64.b64encode(f'me:{SECRET}'.encode()).decode()}"
# A distribution whose page is never sent.
HANGS = "hangs"


def wheel(name: str, version: str, *requires: str, code: str = "") -> tuple[str, bytes]:
    buffer = io.BytesIO()
    info = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    metadata += "".join(f"Requires-Dist: {requirement}\n" for requirement in requires)
    files = {
        f"{name}.py": code or f"version = '{version}'\n",
        f"{info}/METADATA": metadata,
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    with zipfile.ZipFile(buffer, "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
        archive.writestr(f"{info}/RECORD", "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"]))
    return f"{name}-{version}-py3-none-any.whl", buffer.getvalue()


def deb(folder: Path, name: str, script: str = "") -> bytes:
    """A Debian package of one file, with this script after its installation."""
    root = folder / name
    (root / "DEBIAN").mkdir(parents=True)
    (root / "usr/share").mkdir(parents=True)
    (root / f"usr/share/{name}").write_text("installed\n")
    (root / "DEBIAN/control").write_text(
        f"Package: {name}\nVersion: 1.0\nArchitecture: all\nMaintainer: t <t@example.com>\nDescription: test\n"
    )
    (root / "DEBIAN/postinst").write_text(f"#!/bin/sh\nset -e\n{script}\n")
    (root / "DEBIAN/postinst").chmod(0o755)
    subprocess.run(["dpkg-deb", "--root-owner-group", "--build", root], capture_output=True, check=True)
    return (folder / f"{name}.deb").read_bytes()


def tarball(name: str, version: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for path, text in {
            "package/package.json": json.dumps({"name": name, "version": version}),
            "package/index.js": f"module.exports = '{version}';",
        }.items():
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode = len(text), 0o644
            tar.addfile(entry, io.BytesIO(text.encode()))
    return buffer.getvalue()


class Mirrors(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.port = self.server_address[1]
        self.wheels = dict([
            wheel("greeting", "1.0", code="def greet():\n    return 'hello'\n"),
            wheel("needsgreeting", "1.0", "greeting"),
            wheel("greeting", "2.0", code="def greet():\n    return 'hello again'\n"),
            wheel("marked", "1.0", "backport; python_version < '3.10'", "modern; python_version >= '3.10'"),
            wheel("backport", "1.0"),
            wheel("modern", "1.0"),
        ])  # fmt: skip
        self.elsewhere = ""  # address of the wheels, if they are not here
        self.npm = {"tiny": tarball("tiny", "1.0.0")}
        self.deb = deb(folder, "greeting-data", "ls /usr/share/greeting-data >/usr/share/greeting-data.seen")
        self.hanging = threading.Event()

    def write_config(self, folder: Path) -> None:
        """Make these the host's mirrors, in the form in which `make` writes them."""
        address = f"127.0.0.1:{self.port}"
        for name, text in {
            "pip_conf": f"[global]\nindex-url = http://me:{SECRET}@{address}/simple\n",
            "npmrc": f"registry=http://{address}/npm/\n//{address}/npm/:_authToken={TOKEN}\n",
            "apt.sources": f"Types: deb\nURIs: http://me:{SECRET}@{address}/trixie\nSuites: ./\nTrusted: yes\n",
            "apt_conf": "",
            "environment": "",
            "ca": "",
        }.items():
            (folder / name).write_text(text)


class Handler(BaseHTTPRequestHandler):
    server: Mirrors

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        npm = self.path.startswith("/npm/")
        if self.headers.get("Authorization") != (f"Bearer {TOKEN}" if npm else BASIC):
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="mirror"')
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        content = self.content()
        self.send_response(404 if content is None else 200)
        self.send_header("Content-Type", "application/json" if npm else "text/html")
        self.send_header("Content-Length", str(len(content or b"")))
        self.end_headers()
        self.wfile.write(content or b"")

    def content(self) -> bytes | None:
        kind, _, rest = self.path[1:].partition("/")
        name = rest.strip("/")
        match kind:
            case "simple":
                if name == HANGS:
                    self.server.hanging.set()
                    threading.Event().wait(120)
                files = [file for file in self.server.wheels if file.startswith(f"{name}-")]
                links = "".join(f'<a href="{self.server.elsewhere}/files/{file}">{file}</a>' for file in files)
                return links.encode() if links else None
            case "files":
                return self.server.wheels.get(name)
            case "npm":
                return self.npm(name)
            case "trixie":
                return self.debian().get(name.removeprefix("./"))
        return None

    def npm(self, name: str) -> bytes | None:
        if name.endswith(".tgz"):
            return self.server.npm.get(name.removesuffix(".tgz"))
        if (content := self.server.npm.get(name)) is None:
            return None
        dist = {
            "tarball": f"http://127.0.0.1:{self.server.port}/npm/{name}.tgz",
            "shasum": hashlib.sha1(content).hexdigest(),  # noqa: S324 - what registries send
        }
        versions = {"1.0.0": {"name": name, "version": "1.0.0", "dist": dist}}
        return json.dumps({"name": name, "dist-tags": {"latest": "1.0.0"}, "versions": versions}).encode()

    def debian(self) -> dict[str, bytes]:
        package = self.server.deb
        packages = (
            "Package: greeting-data\nVersion: 1.0\nArchitecture: all\nMaintainer: t <t@example.com>\n"
            f"Filename: ./greeting-data.deb\nSize: {len(package)}\nSHA256: {hashlib.sha256(package).hexdigest()}\n"
            "Description: test\n"
        ).encode()
        sha256 = hashlib.sha256(packages).hexdigest()
        release = f"Date: Sat, 28 Nov 2026 00:00:00 UTC\nSHA256:\n {sha256} {len(packages)} Packages\n"
        return {"Packages": packages, "Release": release.encode(), "greeting-data.deb": package}


@contextmanager
def local_mirrors(folder: Path) -> Iterator[Mirrors]:
    with Mirrors(folder) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()
