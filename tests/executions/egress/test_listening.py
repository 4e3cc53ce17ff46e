import asyncio
import json
import logging
from pathlib import Path
from typing import Any

import pytest
from pytest_django import Settings

from executions.egress import listening
from executions.egress.listening import Doors
from sandboxes import doors

SAID = "of the guest"


class Echo:
    """What is behind the doors: says which door it was."""

    def __init__(self) -> None:
        self.fails = False

    async def come(self, sandbox_id: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.fails:
            raise RuntimeError(SAID)
        writer.write(f"{sandbox_id}".encode())

    async def tried(self) -> dict[str, Any]:
        return {"tried": {}}


@pytest.fixture(autouse=True)
def folder(settings: Settings, tmp_path: Path) -> Path:
    settings.SANDBOX_EGRESS_DIR = tmp_path
    doors.provide()
    return doors.root()


async def knock(sandbox_id: int) -> bytes:
    reader, writer = await asyncio.open_unix_connection(doors.root() / str(sandbox_id) / doors.SOCKET)
    async with asyncio.timeout(20):
        came = await reader.read()
    writer.close()
    return came


def test_doors_of_before_are_open_after_a_start(folder: Path) -> None:
    (folder / "7").mkdir()
    (folder / "7" / doors.SOCKET).touch()

    async def scenario() -> bytes:
        await Doors(Echo()).start()
        return await knock(7)

    assert asyncio.run(scenario()) == b"7"


def test_a_door_is_made_when_the_keeper_asks(folder: Path) -> None:
    async def scenario() -> bytes:
        await Doors(Echo()).start()
        await asyncio.to_thread(doors.make, 8)
        return await knock(8)

    assert asyncio.run(scenario()) == b"8"


def test_a_door_is_closed_once_the_keeper_has_removed_its_folder(folder: Path) -> None:
    async def scenario() -> set[int]:
        it = Doors(Echo())
        await it.start()
        for sandbox_id in (1, 2):
            await asyncio.to_thread(doors.make, sandbox_id)
        doors.remove(1)
        await it.sweep()
        assert await knock(2) == b"2"
        return it.open

    assert asyncio.run(scenario()) == {2}


def test_a_door_whose_folder_cannot_be_looked_at_stays(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(path: Path) -> Any:
        raise PermissionError

    async def scenario() -> set[int]:
        it = Doors(Echo())
        await it.start()
        await asyncio.to_thread(doors.make, 1)
        monkeypatch.setattr(listening.Path, "lstat", failing)
        await it.sweep()
        return it.open

    assert asyncio.run(scenario()) == {1}


def test_a_fault_ends_its_connection_only_and_the_log_has_no_text_of_it(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)

    async def scenario() -> list[bytes]:
        echo = Echo()
        await Doors(echo).start()
        await asyncio.to_thread(doors.make, 1)
        echo.fails = True
        failed = await knock(1)
        echo.fails = False
        return [failed, await knock(1)]

    assert asyncio.run(scenario()) == [b"", b"1"]
    assert "RuntimeError" in caplog.text
    assert SAID not in caplog.text


def test_a_question_that_is_none_gets_no_answer_and_ends_nothing(folder: Path) -> None:
    async def ask(line: bytes) -> bytes:
        reader, writer = await asyncio.open_unix_connection(folder / doors.CONTROL)
        writer.write(line + b"\n")
        async with asyncio.timeout(20):
            return await reader.readline()

    async def scenario() -> list[bytes]:
        await Doors(Echo()).start()
        return [await ask(b"nonsense"), await ask(b'{"open": "x"}'), await ask(b'{"try": true}')]

    *none, answer = asyncio.run(scenario())
    assert none == [b"", b""]
    assert json.loads(answer) == {"tried": {}}
