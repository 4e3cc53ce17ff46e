"""Send requests, read the phases of each, and summarise them."""

import base64
import os
import re
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import requests

PHASE = re.compile(r"(\w+);dur=([\d.]+)")
TRIVIAL = {
    "python": "def main(): return 1",
    "nodejs": "function main() { return 1 }",
}
IMPORT_PANDAS = "import pandas\ndef main(): return int(pandas.Series([1, 2]).sum())"


@dataclass(frozen=True)
class Sample:
    total_ms: float
    phases_ms: dict[str, float]
    pool: str  # warm or cold
    status: str
    finished_at: float  # time.monotonic()


class Caller:
    def __init__(self, url: str, token: str) -> None:
        self._url = f"{url}/run"
        self._session = requests.Session()
        self._session.mount("http://", requests.adapters.HTTPAdapter(pool_maxsize=64))
        self._session.headers["Authorization"] = f"Bearer {token}"

    def run(self, language: str, code: str) -> Sample:
        body = {"code_b64": base64.b64encode(code.encode()).decode(), "language": language}
        started = time.monotonic()
        answer = self._session.post(self._url, json=body, timeout=300)
        finished = time.monotonic()
        total = (finished - started) * 1000
        phases = {name: float(ms) for name, ms in PHASE.findall(answer.headers.get("Server-Timing", ""))}
        # The rest, which no phase covers: HTTP, token, code policy, sending the answer.
        phases["answer"] = total - sum(phases.values())
        status = answer.json()["status"] if answer.ok else f"HTTP {answer.status_code}"
        return Sample(total, phases, answer.headers.get("X-Sandbox-Pool", ""), status, finished)

    def sustained(self, language: str, *, callers: int, seconds: float) -> tuple[list[Sample], float]:
        """Let each caller send its next request when it has an answer. Return the samples and the runs per second.

        The rate excludes the first fifth of the time, which uses sandboxes that were warm before.
        """
        begin = time.monotonic()
        counted_from, until = begin + seconds / 5, begin + seconds

        def call(_number: int) -> list[Sample]:
            samples = []
            while time.monotonic() < until:
                samples.append(self.run(language, TRIVIAL[language]))
            return samples

        with ThreadPoolExecutor(callers) as threads:
            samples = [sample for some in threads.map(call, range(callers)) for sample in some]
        counted = [sample for sample in samples if counted_from <= sample.finished_at <= until]
        return samples, len(counted) / (until - counted_from)

    def burst(self, language: str, size: int) -> list[Sample]:
        with ThreadPoolExecutor(size) as threads:
            return list(threads.map(lambda _: self.run(language, TRIVIAL[language]), range(size)))


def percentile(values: list[float], percent: float) -> float:
    """Return the percentile by nearest rank."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, round(percent / 100 * len(ordered) + 0.5) - 1))]


def summary(samples: list[Sample]) -> dict[str, object]:
    totals = [sample.total_ms for sample in samples]
    names = list(dict.fromkeys(name for sample in samples for name in sample.phases_ms))
    return {
        "n": len(samples),
        "failed": sum(sample.status != "success" for sample in samples),
        "warm": sum(sample.pool == "warm" for sample in samples),
        **{f"p{p}_ms": round(percentile(totals, p), 1) for p in (50, 95, 99)},
        "phases_p50_ms": {
            name: round(percentile([s.phases_ms.get(name, 0.0) for s in samples], 50), 1) for name in names
        },
    }


def load() -> float:
    return round(os.getloadavg()[0], 2)
