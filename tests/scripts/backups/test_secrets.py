"""Secrets that .env does not hold, from one installation's folder through an archive to another's."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from scripts.setup.backups import archive, restoring, taking
from scripts.setup.backups.archive import Manifest
from scripts.setup.hosts import authority

ABOUT = Manifest("now", "0.1.0", "", "n1", 18, 0, [], {})


@pytest.mark.parametrize("first_host", [True, False])
def test_the_authority_of_the_database_comes_back_as_it_was(tmp_path: Path, first_host: bool) -> None:
    root, packed, unpacked, anew = (tmp_path / name for name in ("root", "packed", "unpacked", "anew"))
    for folder in (packed, unpacked, anew, root / ".secrets"):
        folder.mkdir(parents=True)
    (root / ".env").write_text("SANDBOX_NODE=n1\n")
    (root / ".secrets/egress").write_text("of gateway and proxy")
    if first_host:
        authority.ensure("192.0.2.7", root / ".secrets")
    else:  # it follows from .env
        (root / ".secrets" / authority.CA).write_text("of another host")

    taking._settings(SimpleNamespace(root=root, heads=lambda: ""), packed)  # type: ignore[arg-type]
    archive.write(packed, ABOUT, tmp_path / "one.tar")
    archive.unpack(tmp_path / "one.tar", unpacked)
    restoring.put_settings(anew, unpacked)

    secrets = {path.name: path.read_bytes() for path in (anew / ".secrets").iterdir()}
    wanted = {"egress", *((authority.CA, authority.CA_KEY) if first_host else ())}
    assert secrets == {name: (root / ".secrets" / name).read_bytes() for name in wanted}
    if first_host:
        assert (anew / ".secrets" / authority.CA_KEY).stat().st_mode & 0o777 == 0o600
        assert authority.ensure("192.0.2.7", anew / ".secrets") == ["certificate"]
