from pathlib import Path

import psycopg
import pytest

from scripts import embedded_postgres
from scripts.embedded_postgres import EmbeddedPostgres, PostgresError


def test_data_survive_a_stop_and_a_start(tmp_path: Path) -> None:
    url, stop = embedded_postgres.start(tmp_path, durable=False)
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    stop()
    url, stop = embedded_postgres.start(tmp_path, durable=False)
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT answer FROM kept").fetchone() == (42,)
    stop()


def test_the_server_wants_its_password_and_its_process_can_be_killed(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path, durable=False)
    server.start()
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(f"postgresql://sandbox:wrong@127.0.0.1:{server.port}/sandbox")
    assert server.process is not None
    server.process.kill()
    server.process.wait(10)
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(server.url)
    # The same port: whoever holds the URL finds the server again.
    port = server.port
    server.start()
    assert server.port == port
    psycopg.connect(server.url).close()
    server.stop()


def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    _, stop = embedded_postgres.start(tmp_path, durable=False)
    with pytest.raises(PostgresError, match="lock file"):
        embedded_postgres.start(tmp_path, durable=False)
    stop()
