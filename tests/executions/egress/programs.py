"""Programs of sandboxes that try what they reach."""

from typing import Any

from tests.executions.egress.conftest import ALLOWED, World, told

FETCH = {
    "python": """
import json, ssl, sys, urllib.error, urllib.request
trusting = ssl._create_unverified_context()
def status(url):
    try:
        return urllib.request.urlopen(url, timeout=10, context=trusting).status
    except urllib.error.HTTPError as e:
        return e.code
    except urllib.error.URLError as e:
        return 403 if "403" in str(e) else type(e.reason).__name__
    except OSError as e:
        return type(e).__name__
print(json.dumps([status(url) for url in sys.argv[1:]]))
""",
    "nodejs": """
process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0';
process.removeAllListeners('warning');
const failed = (e) => ((e.cause || e).code === 'ERR_EGRESS_REFUSED' ? 403 : (e.cause || e).code || String(e));
const status = (url) => fetch(url).then((r) => r.status, failed);
Promise.all(process.argv.slice(2).map(status)).then((all) => console.log(JSON.stringify(all)));
""",
}
LANGUAGES = sorted(FETCH)
# Past the proxy: what a program finds that does not use it.
AROUND = {
    "python": """
import json, os, socket, sys
def attempt(what):
    try:
        what()
    except OSError as e:
        return type(e).__name__
    return "reached"
def connect(host, port):
    with socket.socket() as s:
        s.settimeout(5)
        s.connect((host, port))
print(json.dumps({
    "name": attempt(lambda: socket.getaddrinfo(sys.argv[1], 80)),
    "dns": attempt(lambda: connect("8.8.8.8", 53)),
    "server": attempt(lambda: connect(sys.argv[2], 80)),
    "database": attempt(lambda: connect("127.0.0.1", int(sys.argv[3]))),
    "docker": os.path.exists("/var/run/docker.sock") or os.path.exists("/run/docker.sock"),
    "door": os.path.exists("/run/egress/door"),
    "proxies": sorted(name for name in os.environ if "proxy" in name.lower()),
    "carrier": attempt(lambda: connect("127.0.0.1", 3128)),
}))
""",
    "nodejs": """
const dns = require('dns'), fs = require('fs'), net = require('net');
const resolved = (name) => new Promise((end) => dns.lookup(name, (e) => end(e ? e.code : 'reached')));
const connected = (host, port) => new Promise((end) => {
  const socket = net.connect({ host, port: Number(port), timeout: 5000 }, () => end('reached'));
  socket.on('error', (e) => end(e.code)).on('timeout', () => end('timeout'));
});
(async () => {
  const [, , name, server, port] = process.argv;
  console.log(JSON.stringify({
    name: await resolved(name), dns: await connected('8.8.8.8', 53), server: await connected(server, 80),
    database: await connected('127.0.0.1', port),
    docker: fs.existsSync('/var/run/docker.sock') || fs.existsSync('/run/docker.sock'),
    door: fs.existsSync("/run/egress/door"),
    proxies: Object.keys(process.env).filter((name) => /proxy/i.test(name)).sort(),
    carrier: await connected('127.0.0.1', 3128),
  }));
  process.exit(0);
})();
""",
}


def fetch(egress: World, language: str, *urls: str) -> Any:
    return told(egress.call(FETCH[language], language, argv=list(urls)))


def around(egress: World, language: str) -> dict[str, Any]:
    port = egress.platform.postgres.url.rpartition(":")[2].partition("/")[0]
    return dict(told(egress.call(AROUND[language], language, argv=[ALLOWED, egress.address, port])))


# --- Allowed, and not ---
