import json
from pathlib import Path

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from scripts.scan import sbom
from scripts.scan.inventory import Inventory, Package

HELD = Inventory(
    {Package("deb", "zlib1g", "1:1.3-1", "amd64"), Package("pypi", "django", "5.2"), Package("npm", "@s/left", "1.0"),
     Package("generic", "gvisor", "v0.0.0-2026+filters")},
    "debian", "13", "trixie",
)  # fmt: skip


def test_package_list_is_valid_cyclonedx(tmp_path: Path) -> None:
    sbom.write(tmp_path / "list.json", "sandbox-platform/x:latest", "sha256:1", HELD)
    text = (tmp_path / "list.json").read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    found = json.loads(text)
    assert found["metadata"]["component"]["version"] == "sha256:1"
    assert {component["purl"] for component in found["components"]} == {
        "pkg:deb/debian/zlib1g@1:1.3-1?arch=amd64&distro=debian-13",
        "pkg:generic/gvisor@v0.0.0-2026%2Bfilters",
        "pkg:npm/%40s/left@1.0",
        "pkg:pypi/django@5.2",
    }
