"""Package lists in CycloneDX 1.6, written by its own library."""

from __future__ import annotations

from pathlib import Path

from cyclonedx.contrib.this.builders import this_component
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from packageurl import PackageURL

from scripts.scan.inventory import Inventory, Package


def write(path: Path, name: str, version: str, inventory: Inventory) -> None:
    """Write the list of an image. `version`: its content id."""
    bom = Bom()
    bom.metadata.tools.components.add(this_component())
    bom.metadata.component = Component(
        name=name, version=version, type=ComponentType.CONTAINER, bom_ref=f"{name}@{version}"
    )
    for package in sorted(inventory.packages):
        purl = _purl(package, inventory)
        bom.components.add(
            Component(
                name=package.name,
                version=package.version,
                type=ComponentType.LIBRARY,
                purl=purl,
                bom_ref=purl.to_string(),
            )
        )
    bom.register_dependency(bom.metadata.component, bom.components)
    make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6).output_to_file(
        str(path), allow_overwrite=True, indent=1
    )


def _purl(package: Package, inventory: Inventory) -> PackageURL:
    if package.kind == "deb":
        qualifiers = {"arch": package.architecture, "distro": f"{inventory.distribution}-{inventory.release}"}
        return PackageURL("deb", inventory.distribution, package.name, package.version, qualifiers)
    namespace, _, name = package.name.rpartition("/")
    return PackageURL(package.kind, namespace or None, name, package.version)
