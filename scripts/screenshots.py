"""`make screenshots`: start a platform, run real programs and write screenshots of its pages to docs/screenshots.

`python -m scripts.screenshots FOLDER` also writes every page there, whole, on desktop and phone, light and dark.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import django
import requests
from playwright.sync_api import Browser, Page

from scripts.chromium import PHONE, chromium, log_in
from scripts.setup.host import ROOT

# tests.live imports models, which need Django to be set up.
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "sandbox_platform.settings")
django.setup()

from tests.browser.conftest import PASSWORD  # noqa: E402
from tests.database import shared_templates  # noqa: E402
from tests.live import TOKEN, Platform, eventually  # noqa: E402

FOLDER = ROOT / "docs" / "screenshots"
LARGEST = 200 * 1024
# A laptop's viewport, small enough for the limit on the file size.
DESKTOP = (1280, 720)
ON_PHONE = ("dashboard", "execution", "failures", "alerts")
REPORT = """import os, struct, zlib

def png(width, height):
    def chunk(kind, data):
        return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))
    rows = b''.join(
        b'\\0' + bytes(v for x in range(width) for v in (x * 255 // width, y * 255 // height, 120))
        for y in range(height)
    )
    header = struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0)
    start = b'\\x89PNG\\r\\n\\x1a\\n' + chunk(b'IHDR', header)
    return start + chunk(b'IDAT', zlib.compress(rows)) + chunk(b'IEND', b'')

def main(months, currency='EUR'):
    os.makedirs('artifacts', exist_ok=True)
    with open('artifacts/heat.png', 'wb') as file:
        file.write(png(240, 60))
    rows = [{'month': f'2026-{m:02}', 'revenue': 1200 + 175 * m} for m in range(1, months + 1)]
    print(f'\\x1b[32m{len(rows)} months\\x1b[0m in {currency}')
    return {'rows': rows, 'total': sum(row['revenue'] for row in rows), 'currency': currency}
"""
PROGRAMS: list[dict[str, Any]] = [
    {"runtime": "python", "mode": "function", "code": REPORT, "arguments": {"months": 4},
     "labels": {"canvas": "sales-report"}},
    {"runtime": "nodejs", "mode": "function", "arguments": {"n": 12}, "labels": {"canvas": "maths"},
     "code": "async function main({ n }) {\n  return [...Array(n).keys()].map((i) => i * i);\n}\n"
             "module.exports = { main };\n"},
    {"runtime": "python", "mode": "script", "code": "import time\nprint('waiting', flush=True)\ntime.sleep(60)",
     "limits": {"wall_time_ms": 800}, "labels": {"canvas": "etl"}},
    {"runtime": "python", "mode": "script", "labels": {"canvas": "etl"},
     "code": "rows = {}\nprint(rows['total'])"},
    {"runtime": "python", "mode": "function", "code": "def main():\n    return bytearray(400 * 2**20)[:1].hex()"},
]  # fmt: skip
ROUNDS = 4
# A second caller, which has nearly used up its day: an alert fires.
SALES = """
from clients.models import Client
print(Client.objects.create_with_token("sales-agents", max_runs_per_day=13)[1])
"""
SALES_RUNS = 12


def run(platform: Platform, program: dict[str, Any], token: str = TOKEN) -> str:
    """Return the id of the execution."""
    answer = requests.post(
        f"{platform.url}/api/v1/executions",
        json={**program, "wait": 30},
        headers={"Authorization": f"Bearer {token}"},
        timeout=60,
    )
    answer.raise_for_status()
    return str(answer.json()["id"])


def run_programs(platform: Platform) -> str:
    """Run the programs of both callers and return the id of the last execution of REPORT."""
    sales = platform.manage("shell", "-v0", "-c", SALES).strip()
    for _ in range(SALES_RUNS):
        run(platform, PROGRAMS[0], sales)
    ids = [(run(platform, program), program["code"] == REPORT) for program in PROGRAMS * ROUNDS]
    return [execution for execution, is_report in ids if is_report][-1]


def wait_for_figures(platform: Platform) -> str:
    """Wait until a failure has its group and an alert fires, and return the id of the failure."""
    eventually(lambda: platform.sql("SELECT id FROM alerts_alert WHERE state = 'firing'"), "an alert fires", 180)
    waiting = "SELECT 1 FROM executions_failurepending"
    eventually(lambda: not platform.sql(waiting), "failures are grouped")
    (group,) = platform.sql("SELECT id FROM executions_failuregroup WHERE title = 'KeyError'")
    return str(group["id"])


def take(page: Page, platform: Platform, path: Path, address: str, *, whole: bool = False) -> None:
    page.goto(f"{platform.url}/admin/{address}")
    page.wait_for_timeout(400)
    page.screenshot(path=path, full_page=whole)
    size = path.stat().st_size
    print(f"{path}: {size // 1024} KiB")
    if size > LARGEST and not whole:
        raise SystemExit(f"{path} is larger than {LARGEST // 1024} KiB")


def hide_first_steps(page: Page, platform: Platform) -> None:
    page.goto(f"{platform.url}/admin/")
    page.get_by_role("button", name="Hide", exact=True).click()
    page.wait_for_load_state()


def photograph(browser: Browser, platform: Platform, report: str, failure: str, everything: Path | None) -> None:
    pages = {
        "first-steps": "",
        "dashboard": "",
        "executions": "executions/execution/",
        "execution": f"executions/execution/{report}/change/",
        "failures": "failures/failuregroup/",
        "failure": f"failures/failuregroup/{failure}/change/",
        "alerts": "alerts/alert/",
        "playground": "playground/",
        "pool": "pool/",
        "usage": "usage/",
        "runtimes": "runtimes/runtime/",
        "logins": "axes/accesslog/",
        "sessions": "usersessions/usersession/",
        "security": "account/",
        "about": "about/",
    }
    looks = [(DESKTOP, "light", ""), (PHONE, "dark", "-phone")]
    if everything:
        looks += [(DESKTOP, "dark", "-dark"), (PHONE, "light", "-phone-light")]
    hidden = False
    for (width, height), scheme, suffix in looks:
        context = browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme=scheme,  # type: ignore[arg-type]
        )
        page = context.new_page()
        log_in(page, platform.url, "admin", PASSWORD)
        for name, address in pages.items():
            if name == "first-steps" and hidden:
                continue
            if not suffix or (suffix == "-phone" and name in ON_PHONE):
                take(page, platform, FOLDER / f"{name}{suffix}.png", address)
            if everything:
                take(page, platform, everything / f"{name}{suffix}.png", address, whole=True)
            if name == "first-steps":
                hide_first_steps(page, platform)
                hidden = True
        context.close()


def main() -> int:
    everything = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    for folder in filter(None, (FOLDER, everything)):
        folder.mkdir(parents=True, exist_ok=True)
    with shared_templates(), tempfile.TemporaryDirectory(prefix="screenshots-") as place:
        platform = Platform(Path(place), SANDBOX_TIMEOUT="10s")
        # The pages show it, and stop() removes the sandboxes that have it.
        platform.node = "node-1"
        try:
            platform.start()
            platform.spawn("callbacks")
            report = run_programs(platform)
            failure = wait_for_figures(platform)
            with chromium() as browser:
                photograph(browser, platform, report, failure, everything)
        finally:
            platform.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
