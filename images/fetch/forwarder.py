"""Forward requests of the installers to the mirrors, and to nothing else.

Runs on the host's network, because a mirror may be reachable only from there. Listens on one Unix socket for each
installer. /run/routes.json names the hosts of each: {"pip": {"index.example:443": ""}}. The value is the address of the
host's own proxy for that mirror, or "" without one. Without a container of its own it is given the folder of the
sockets and the file of the routes as arguments: DOOR ROUTES.
"""

import asyncio
import base64
import json
import os
import ssl
import sys
from urllib.parse import unquote, urlsplit

DOOR, ROUTES = sys.argv[1:3] if len(sys.argv) > 2 else ("/run/door", "/run/routes.json")
REFUSED = "refused"
CA = "/run/secrets/ca"
HEAD_BYTES = 64 * 1024
CONNECT_S = 30
IDLE_S = 300
MAX_REFUSED = 100
PORTS = {"http": 80, "https": 443}


class Refused(Exception):
    """The request gets this status and reason."""


class Forwarder:
    def __init__(self, tool, routes):
        self.tool = tool
        self.routes = routes
        self.refused = 0

    async def serve(self):
        server = await asyncio.start_unix_server(self.answer, f"{DOOR}/{self.tool}", limit=HEAD_BYTES)
        async with server:
            await server.serve_forever()

    async def answer(self, reader, writer):
        try:
            head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), CONNECT_S)).decode("latin-1")
            method, target, _ = head.split("\r\n", 1)[0].split(" ")
            headers = head.split("\r\n")[1:-2]
            if method == "CONNECT":
                await self.tunnel(target, reader, writer)
            elif method in ("GET", "HEAD"):
                await self.fetch(method, target, headers, reader, writer)
            else:
                raise Refused(f"405 {method} is not for packages")
        except Refused as e:
            writer.write(f"HTTP/1.1 {e}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode("latin-1"))
        except (OSError, ValueError, TimeoutError, EOFError, asyncio.LimitOverrunError) as e:
            reason = (
                type(e).__name__ if not isinstance(e, OSError) else os.strerror(e.errno) if e.errno else "failed"
            )
            writer.write(
                f"HTTP/1.1 502 {reason}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode("latin-1")
            )
        finally:
            await closed(writer)

    def route(self, host, port):
        """Return the host's own proxy for this mirror, or "". Raises Refused for what is no mirror."""
        name = f"{host.lower()}:{port}"
        if name not in self.routes:
            if self.refused < MAX_REFUSED:
                self.refused += 1
                with open(f"{DOOR}/{REFUSED}", "a") as file:
                    file.write(f"{self.tool} {name}\n")
            raise Refused("403 Not a mirror")
        return self.routes[name]

    async def tunnel(self, target, reader, writer):
        host, _, port = target.rpartition(":")
        proxy = self.route(host.strip("[]"), port)
        if proxy:
            upstream = await connected(proxy)
            upstream[1].write(
                f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{authorization(proxy)}\r\n".encode()
            )
            answered = await asyncio.wait_for(upstream[0].readuntil(b"\r\n\r\n"), CONNECT_S)
            status = answered.split(b"\r\n", 1)[0].split(b" ", 1)[1].decode("latin-1")
            if not status.startswith("200"):
                await closed(upstream[1])
                raise Refused(f"502 The proxy of this host says {status}")
        else:
            upstream = await asyncio.wait_for(asyncio.open_connection(host.strip("[]"), int(port)), CONNECT_S)
        writer.write(b"HTTP/1.1 200 Connected\r\n\r\n")
        await asyncio.gather(copy(reader, upstream[1]), copy(upstream[0], writer))

    async def fetch(self, method, target, headers, reader, writer):
        """Forward one request without a body. What the client sends after it goes nowhere."""
        url = urlsplit(target)
        if url.scheme != "http" or not url.hostname:
            raise Refused("400 Not an address")
        port = url.port or PORTS[url.scheme]
        proxy = self.route(url.hostname, port)
        kept = [
            line for line in headers if not line.lower().startswith(("proxy-", "connection:", "content-", "host:"))
        ]
        kept += [f"Host: {url.netloc.rpartition('@')[2]}", "Connection: close"]
        if proxy:
            upstream = await connected(proxy)
            first, last = target, authorization(proxy)
        else:
            upstream = await asyncio.wait_for(asyncio.open_connection(url.hostname, port), CONNECT_S)
            first, last = target.split(url.netloc, 1)[1] or "/", ""
        lines = "\r\n".join([f"{method} {first} HTTP/1.1", *kept])
        upstream[1].write(f"{lines}\r\n{last}\r\n".encode("latin-1"))
        answering = asyncio.ensure_future(copy(upstream[0], writer))
        silent = asyncio.ensure_future(reader.read(1))
        # A client that goes away, or asks again on this connection, gets a closed one.
        _, pending = await asyncio.wait({answering, silent}, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        await closed(upstream[1])


async def copy(reader, writer):
    """Copy until the end, or until nothing arrives for IDLE_S."""
    try:
        while data := await asyncio.wait_for(reader.read(1 << 16), IDLE_S):
            writer.write(data)
            await writer.drain()
    except (OSError, TimeoutError):
        pass
    finally:
        await closed(writer)


async def closed(writer):
    try:
        writer.close()
        await asyncio.wait_for(writer.wait_closed(), 5)
    except (OSError, TimeoutError):
        pass


async def connected(proxy):
    url = urlsplit(proxy)
    context = None
    if url.scheme == "https":
        context = ssl.create_default_context(cafile=CA if os.path.exists(CA) and os.path.getsize(CA) else None)
    elif url.scheme != "http":
        raise Refused("502 The proxy of this host is neither http nor https")
    opening = asyncio.open_connection(url.hostname, url.port or PORTS[url.scheme], ssl=context)
    return await asyncio.wait_for(opening, CONNECT_S)


def authorization(proxy):
    url = urlsplit(proxy)
    if not url.username:
        return ""
    pair = f"{unquote(url.username)}:{unquote(url.password or '')}"
    return f"Proxy-Authorization: Basic {base64.b64encode(pair.encode()).decode()}\r\n"


async def main():
    with open(ROUTES) as file:
        routes = json.load(file)
    await asyncio.gather(*(Forwarder(tool, allowed).serve() for tool, allowed in routes.items()))


if __name__ == "__main__":
    asyncio.run(main())
