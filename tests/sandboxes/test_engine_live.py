"""Each engine with real images: one that is missing, and two sandboxes one after the other."""

import json

import pytest

from sandboxes.engine import Engine, ImageMissing
from tests.sandboxes.guest import each_engine, run, spec

__all__ = ["each_engine"]
pytestmark = pytest.mark.needs_docker


def test_image_that_is_missing_is_never_pulled(each_engine: Engine) -> None:
    with pytest.raises(ImageMissing):
        each_engine.create(spec(image="sandbox-platform/no-such-image:1"))


def test_image_that_is_missing_has_no_id(each_engine: Engine) -> None:
    with pytest.raises(ImageMissing):
        each_engine.image_id("sandbox-platform/no-such-image:1")


LEAVES_TRACES = """
import os, subprocess, time
os.environ["TRACE"] = "1"
def main():
    for path in ("/tmp/trace", "/workspace/trace"):
        open(path, "w").close()
    if os.fork() == 0:
        os.setsid()
        time.sleep(600)
    return 1
"""
FINDS_TRACES = """
import os
def main():
    return {
        "files": [p for p in ("/tmp/trace", "/workspace/trace") if os.path.exists(p)] + os.listdir("/tmp"),
        "processes": [p for p in os.listdir("/proc") if p.isdigit() and int(p) not in (1, os.getpid())],
        "environment": os.environ.get("TRACE"),
    }
"""


def test_run_finds_no_trace_of_the_one_before(each_engine: Engine) -> None:
    run(each_engine, LEAVES_TRACES)
    found = json.loads(run(each_engine, FINDS_TRACES).result or b"{}")
    assert found == {"files": [], "processes": [], "environment": None}
