import gc
import sys

from sandbox_platform.gunicorn import post_worker_init


def test_what_is_loaded_before_the_first_request_is_not_collected_again() -> None:
    try:
        post_worker_init(None)
        urls = sys.modules["sandbox_platform.urls"]
        assert not any(collected is urls for collected in gc.get_objects())
    finally:
        gc.unfreeze()
