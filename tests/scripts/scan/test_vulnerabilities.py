"""pip-audit and debsecan, asked against services of our own."""

import json
import shutil
import threading
import zlib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from scripts.scan import __main__ as scan
from scripts.scan.inventory import Inventory, Package
from scripts.scan.vulnerabilities import Hole, NotLooked, of_debian, of_gvisor, of_requirements

HASH = "--hash=sha256:" + "0" * 64
# As https://security-tracker.debian.org/tracker/debsecan/release/1/trixie has it: names; packages; binaries of sources.
TRACKER = """VERSION 1
CVE-2026-0001,,A hole that is mended
CVE-2026-0002,,A hole that is not

zlib,0,SHRF,1:1.4-1,
zlib,1,S  X,,

zlib,zlib1g

"""
STATUS = b"Package: zlib1g\nStatus: install ok installed\nArchitecture: amd64\nSource: zlib\nVersion: 1:1.3-1\n\n"
HELD = Inventory(distribution="debian", release="13", codename="trixie", status=STATUS)
needs_debsecan = pytest.mark.skipif(shutil.which("debsecan") is None, reason="debsecan: make prepare_tests")


class Osv(BaseHTTPRequestHandler):
    """Knows one vulnerability, of jinja2."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        hole = {
            "id": "PYSEC-1", "summary": "s", "details": "d", "aliases": [],
            "affected": [{"package": asked["package"], "ranges": [
                {"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "3.1.6"}]}]}],
        }  # fmt: skip
        body = json.dumps({"vulns": [hole]} if asked["package"]["name"] == "jinja2" else {}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def osv() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Osv)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1/query"
    server.shutdown()
    thread.join()
    server.server_close()


def requirements(folder: Path, *pins: str) -> Path:
    path = folder / "requirements.txt"
    path.write_text("".join(f"{pin} {HASH}\n" for pin in pins))
    return path


def test_known_vulnerability_of_a_locked_package_is_found_with_its_fix(osv: str, tmp_path: Path) -> None:
    path = requirements(tmp_path, "jinja2==3.1.2", "six==1.17.0")
    assert of_requirements(path, {"SANDBOX_SCAN_OSV_URL": osv}) == [
        Hole("requirements.txt", "jinja2 3.1.2", "PYSEC-1", "3.1.6")
    ]


def test_packages_without_a_known_vulnerability_are_clean(osv: str, tmp_path: Path) -> None:
    assert of_requirements(requirements(tmp_path, "six==1.17.0"), {"SANDBOX_SCAN_OSV_URL": osv}) == []


def test_service_that_cannot_be_reached_is_not_clean(tmp_path: Path) -> None:
    away = {"SANDBOX_SCAN_OSV_URL": "http://127.0.0.1:9/v1/query"}
    with pytest.raises(NotLooked):
        of_requirements(requirements(tmp_path, "six==1.17.0"), away)


@needs_debsecan
def test_tracker_tells_what_is_mended_and_what_is_not(tmp_path: Path) -> None:
    (tmp_path / "trixie").write_bytes(zlib.compress(TRACKER.encode()))
    found = of_debian("x", HELD, tmp_path, {"SANDBOX_SCAN_DEBIAN_URL": tmp_path.as_uri()})
    assert found == [
        Hole("x", "zlib1g", "CVE-2026-0001", "a newer package of Debian", "remotely exploitable, high urgency"),
        Hole("x", "zlib1g", "CVE-2026-0002", ""),
    ]


@needs_debsecan
def test_tracker_that_cannot_be_reached_is_not_clean(tmp_path: Path) -> None:
    with pytest.raises(NotLooked, match="error"):
        of_debian("x", HELD, tmp_path, {"SANDBOX_SCAN_DEBIAN_URL": "http://127.0.0.1:9/"})


def test_image_of_another_distribution_is_not_looked_at(tmp_path: Path) -> None:
    with pytest.raises(NotLooked, match="alpine"):
        of_debian("x", Inventory(distribution="alpine"), tmp_path, {})


def with_gvisor(version: str) -> Inventory:
    return Inventory({Package("generic", "gvisor", version)})


def test_advisories_of_the_gvisor_in_an_image_are_to_be_mended() -> None:
    (hole,) = of_gvisor("agent", with_gvisor("release-20260101.0"))
    assert (hole.where, hole.package, hole.id) == ("agent", "gvisor release-20260101.0", "CVE-2026-96812")
    assert "make build KUBERNETES=yes" in hole.fix


def test_a_fixed_gvisor_and_an_image_without_one_are_clean() -> None:
    assert of_gvisor("agent", with_gvisor("release-20260907.0")) == of_gvisor("tls", Inventory()) == []


FIXED, OPEN = Hole("x", "a 1", "CVE-1", "2"), Hole("x", "a 1", "CVE-2", "")


@pytest.mark.parametrize(
    ("holes", "not_looked", "status"),
    [
        ([], {}, scan.CLEAN),
        ([OPEN], {}, scan.CLEAN),
        ([FIXED, OPEN], {}, scan.FOUND),
        ([FIXED], {"images": "no Docker"}, scan.FOUND),
        ([OPEN], {"images": "no Docker"}, scan.NOT_LOOKED),
    ],
)
def test_exit_status_tells_found_from_not_looked(
    holes: list[Hole], not_looked: dict[str, str], status: int
) -> None:
    report = scan.Report(holes, not_looked)
    assert report.status == status
    assert any("NOT LOOKED" in line for line in report.lines()) == bool(not_looked)
