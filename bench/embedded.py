"""Set up Django in this process, on an empty embedded Postgres that is removed afterwards."""

import os
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scripts.embedded_postgres import EmbeddedPostgres


@contextmanager
def django_on_embedded_postgres(data: Path | None = None) -> Iterator[None]:
    """Start Postgres and set up Django. Creates no tables. Import models only inside the context.

    `data`: a folder whose database is kept, and used if it is there.
    """
    with tempfile.TemporaryDirectory(prefix="bench-") as temporary:
        folder = data or Path(temporary)
        postgres = EmbeddedPostgres(folder)
        postgres.start()
        try:
            os.environ |= {"DATABASE_URL": postgres.url, "DJANGO_SECRET_KEY": uuid.uuid4().hex}
            os.environ.setdefault("DJANGO_SETTINGS_MODULE", "sandbox_platform.settings")
            import django

            django.setup()
            from django.conf import settings

            settings.ALLOWED_HOSTS = ["*"]
            settings.SANDBOX_SEAL_KEY_FILE = str(folder / "seal" / "seal.key")
            yield
        finally:
            postgres.stop()
