"""Runs in a pod of the cluster: sends requests, several at once, and prints the answers as JSON. Standard library only.

A request that got no answer is sent again only if the connection could not be made, as an HTTP client would.
"""

import json
import sys
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

JOB = json.loads(sys.argv[1])
CONNECT_S = 60.0


def send(request):
    method, path, body = request
    data = None if body is None else json.dumps(body).encode()
    headers = {"Authorization": f"Bearer {JOB['token']}", "Content-Type": "application/json"}
    until = time.monotonic() + CONNECT_S
    while True:
        asked = urllib.request.Request(JOB["url"] + path, data, headers, method=method)  # noqa: S310 -- ours
        try:
            with urllib.request.urlopen(asked, timeout=900) as answer:  # noqa: S310
                return {"status": answer.status, "body": json.load(answer)}
        except urllib.error.HTTPError as error:
            return {"status": error.code, "body": error.read(2000).decode(errors="replace")}
        except urllib.error.URLError as error:
            refused = isinstance(error.reason, ConnectionRefusedError)
            if not refused or time.monotonic() > until:
                return {"error": str(error)}
            time.sleep(0.5)
        except (OSError, ValueError) as error:
            return {"error": repr(error)}


with ThreadPoolExecutor(JOB["at_once"]) as pool:
    print(json.dumps(list(pool.map(send, JOB["requests"]))))
