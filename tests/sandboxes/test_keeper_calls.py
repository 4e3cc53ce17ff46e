"""Who waits for a sandbox is called when one is ready."""

import time
import uuid

import pytest
import uuid_utils.compat

from runtimes.models import Runtime
from sandbox_platform.kit import liveness
from sandbox_platform.kit.notify import IMAGE_ASKED, POOL, Listener, notify, ready_channel
from sandboxes import turns
from sandboxes.calls import CALL_AGAIN_S
from sandboxes.turns import Claimant
from tests.live import eventually
from tests.sandboxes.stub_engine import StubEngine
from tests.sandboxes.test_keeper import engine, keeping, node, ready, runtime

__all__ = ["engine", "node", "runtime"]


def waits(runtime: Runtime, execution: uuid.UUID) -> None:
    turns.wait((runtime.pk, "none"), Claimant(execution))


def test_fresh_one_calls_only_who_was_submitted_first(runtime: Runtime, engine: StubEngine, node: str) -> None:
    Runtime.objects.update(pool_min=0)
    first, second = (uuid_utils.compat.uuid7() for _ in range(2))
    with keeping(engine), Listener(ready_channel(first), ready_channel(second)) as listener:
        eventually(lambda: liveness.keeper_alive(node), "the keeper listens")
        heard: list[str] = []
        for execution in (second, first):
            waits(runtime, execution)
        Runtime.objects.update(pool_min=1)
        notify(POOL)
        eventually(lambda: heard.extend(n.channel for n in listener.wait(0.1)) or len(heard) > 2, "calls")
        # Nobody comes, so the first is called again and again.
        assert set(heard) == {ready_channel(first)}


@pytest.mark.parametrize(
    ("channel", "payload"),
    [(POOL, "waits:"), (POOL, "waits:x:none:y"), (POOL, "claimed:1"), (IMAGE_ASKED, "x"), (IMAGE_ASKED, "1")],
)
def test_a_made_up_notification_does_not_stop_the_keeper(
    runtime: Runtime, engine: StubEngine, channel: str, payload: str
) -> None:
    """Every service that reaches Postgres can send one."""
    with keeping(engine):
        eventually(ready(2), "two are ready")
        notify(channel, payload)
        Runtime.objects.update(pool_min=3, pool_max=3)
        notify(POOL)
        eventually(ready(3), "the third is ready", 20)


def test_one_that_nobody_came_for_is_called_out_again(runtime: Runtime, engine: StubEngine) -> None:
    execution = uuid_utils.compat.uuid7()
    with keeping(engine), Listener(ready_channel(execution)) as listener:
        eventually(ready(2), "two are ready")
        time.sleep(CALL_AGAIN_S)
        waits(runtime, execution)
        assert listener.wait(60)
