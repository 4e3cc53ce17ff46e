"""`make screenshots`: start a platform, run real programs and write screenshots of its pages to docs/screenshots."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import django
import requests
from playwright.sync_api import Page

from scripts.chromium import PHONE, chromium, log_in
from scripts.setup.host import ROOT

# tests.live imports models, which need Django to be set up.
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "sandbox_platform.settings")
django.setup()

from tests.browser.conftest import PASSWORD  # noqa: E402
from tests.database import shared_templates  # noqa: E402
from tests.live import TOKEN, Platform  # noqa: E402

FOLDER = ROOT / "docs" / "screenshots"
LARGEST = 200 * 1024
# A laptop's viewport, small enough for the limit on the file size.
DESKTOP = (1280, 720)
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
ROUNDS = 6


def run_programs(platform: Platform) -> str:
    """Run the programs and return the id of the last execution of REPORT."""
    report = ""
    for program in PROGRAMS * ROUNDS:
        answer = requests.post(
            f"{platform.url}/api/v1/executions",
            json={**program, "wait": 30},
            headers={"Authorization": f"Bearer {TOKEN}"},
            timeout=60,
        )
        answer.raise_for_status()
        report = str(answer.json()["id"]) if program["code"] == REPORT else report
    return report


def take(page: Page, platform: Platform, name: str, address: str) -> None:
    page.goto(f"{platform.url}/admin/{address}")
    page.wait_for_timeout(400)
    path = FOLDER / f"{name}.png"
    page.screenshot(path=path)
    size = path.stat().st_size
    print(f"{path.relative_to(ROOT)}: {size // 1024} KiB")
    if size > LARGEST:
        raise SystemExit(f"{path} is larger than {LARGEST // 1024} KiB")


def main() -> int:
    FOLDER.mkdir(parents=True, exist_ok=True)
    with shared_templates(), tempfile.TemporaryDirectory(prefix="screenshots-") as folder:
        platform = Platform(Path(folder), SANDBOX_TIMEOUT="10s")
        # The pages show it, and stop() removes the sandboxes that have it.
        platform.node = "node-1"
        try:
            platform.start()
            report = run_programs(platform)
            pages = {
                "dashboard": "",
                "executions": "executions/execution/",
                "execution": f"executions/execution/{report}/change/",
                "playground": "playground/",
                "pool": "pool/",
                "runtimes": "runtimes/runtime/",
                "about": "about/",
            }
            with chromium() as browser:
                for (width, height), scheme, suffix in ((DESKTOP, "light", ""), (PHONE, "dark", "-phone")):
                    context = browser.new_context(
                        viewport={"width": width, "height": height},
                        color_scheme=scheme,  # type: ignore[arg-type]
                    )
                    page = context.new_page()
                    log_in(page, platform.url, "admin", PASSWORD)
                    for name, address in pages.items():
                        if not suffix or name in ("dashboard", "execution"):
                            take(page, platform, name + suffix, address)
                    context.close()
        finally:
            platform.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
