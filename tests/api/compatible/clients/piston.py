"""Two libraries for Piston, aiopyston and pistonapi: python piston.py URL TOKEN."""

import asyncio
import json
import sys
from typing import Any

from pistonapi import PistonAPI
from pistonapi.exceptions import PistonError
from pyston import File, PystonClient
from pyston.exceptions import ExecutionError


async def asynchronous(url: str, token: str) -> dict[str, Any]:
    client = PystonClient(base_url=f"{url}/api/v2/piston/", api_key=f"Bearer {token}")
    try:
        runtimes = await client.get_runtimes("python3")
        files = [File("import other\nprint(input(), other.X)", "main.py"), File("X = 1", "other.py")]
        output = await client.execute("python", files, stdin="in", args=["a"])
        failed = await client.execute("python3", [File("import sys; sys.exit(3)")])
        try:
            await client.execute("python", [File("1")], version="2.x")
        except ExecutionError as e:
            refused = str(e)
        return {
            "languages": sorted(await client.languages()),
            "python": runtimes[0].language,
            "output": output.run_stage.output,
            "code": failed.run_stage.code,
            "refused": refused,
        }
    finally:
        await client.close_session()


def blocking(url: str, token: str) -> dict[str, Any]:
    """It sends forms, which Piston itself refuses, too: only its list works."""
    api = PistonAPI(f"{url.replace('://', f'://sandbox:{token}@')}/api/v2")
    try:
        api.execute("python", "*", "print(1)")
    except PistonError as e:
        refused = str(e)
    return {"languages": sorted(api.languages), "refused": refused}


def main(url: str, token: str) -> dict[str, Any]:
    return {"aiopyston": asyncio.run(asynchronous(url, token)), "pistonapi": blocking(url, token)}


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])))
