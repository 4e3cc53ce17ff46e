"""Run a program on the platform: SANDBOX_URL=http://127.0.0.1:9385 SANDBOX_TOKEN=… python run.py FILE…

The first file is the program; the other files are placed beside it. Its artifacts are saved in the current folder.
"""

import os
import sys
import uuid
from pathlib import Path

import requests

URL = os.environ.get("SANDBOX_URL", "http://127.0.0.1:9385")
session = requests.Session()
session.headers["Authorization"] = f"Bearer {os.environ['SANDBOX_TOKEN']}"

paths = sys.argv[1:]
answer = session.post(
    f"{URL}/api/v1/executions",
    # With a key, the program runs only once even if this request is sent twice.
    headers={"Idempotency-Key": str(uuid.uuid4())},
    json={
        "runtime": "python",
        "files": [{"path": Path(path).name, "content": Path(path).read_text()} for path in paths],
        "entry": Path(paths[0]).name,
        "wait": 60,
    },
    timeout=90,
)
if not answer.ok:
    problem = answer.json()
    sys.exit(f"{problem['field'] or problem['title']}: {problem['detail']} {problem['remedy'] or ''}")
execution = answer.json()
print(execution["stdout"], end="")
print(execution["stderr"], end="", file=sys.stderr)
for artifact in session.get(f"{URL}/api/v1/executions/{execution['id']}/artifacts", timeout=30).json():
    Path(artifact["name"]).write_bytes(session.get(URL + artifact["url"], timeout=30).content)
sys.exit(0 if execution["status"] == "succeeded" else f"{execution['status']}: {execution['message']}")
