import io
import json
import tarfile

import pytest

from scripts.scan import inventory
from scripts.scan.inventory import Inventory, Package, of_files

STATUS = """Package: zlib1g
Status: install ok installed
Architecture: amd64
Source: zlib
Version: 1:1.3-1
Description: library
 with a second line
 Version: 9

Package: gone
Status: deinstall ok config-files
Architecture: all
Version: 1

"""
FILES = {
    "var/lib/dpkg/status": STATUS,
    "usr/lib/os-release": 'ID=debian\nVERSION_ID="13"\nVERSION_CODENAME=trixie\n',
    "opt/venv/lib/python3.13/site-packages/django-5.2.dist-info/METADATA": "Name: Django\nVersion: 5.2\n\nName: no\n",
    "usr/local/lib/sandbox-platform/gvisor/release-20260907.0/runsc": "a program",
    "home/gvisor/release-1.0/runsc": "somebody's",
    "usr/share/nodejs/x/METADATA": "Name: no\nVersion: 1\n",
    "usr/lib/node_modules/@scope/left/package.json": json.dumps({"name": "@scope/left", "version": "1.0.0"}),
    "usr/lib/node_modules/bad/test/package.json": "{not JSON",
    "usr/lib/other/package.json": json.dumps({"name": "no", "version": "1"}),
    "./app/console/static/vendor/packages.json": json.dumps([{"name": "alpinejs", "version": "3.15.0"}]),
}


@pytest.fixture(scope="module")
def found() -> Inventory:
    return made(FILES)


def made(files: dict[str, str]) -> Inventory:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text.encode())
            tar.addfile(entry, io.BytesIO(text.encode()))
    stream.seek(0)
    return of_files(stream)


def test_installed_packages_of_debian_python_and_npm_and_gvisor_are_found(found: Inventory) -> None:
    assert sorted(found.packages) == [
        Package("deb", "zlib1g", "1:1.3-1", "amd64"),
        Package("generic", "gvisor", "release-20260907.0"),
        Package("npm", "@scope/left", "1.0.0"),
        Package("npm", "alpinejs", "3.15.0"),
        Package("pypi", "Django", "5.2"),
    ]


def test_the_distribution_is_that_of_the_image(found: Inventory) -> None:
    assert (found.distribution, found.release, found.codename) == ("debian", "13", "trixie")


def test_gvisor_is_found_although_it_is_too_large_to_be_read(
    found: Inventory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inventory, "LARGEST", 1)
    assert made(FILES).gvisor == found.gvisor == ["release-20260907.0"]
