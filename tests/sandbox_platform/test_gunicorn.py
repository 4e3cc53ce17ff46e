import os
import subprocess
import sys

# In a process of its own: the configuration sets the size of the database's pool, which is the web's alone.
FREEZES = """
import gc, sys, django
django.setup()
from sandbox_platform.gunicorn import post_worker_init
post_worker_init(None)
urls = sys.modules["sandbox_platform.urls"]
assert not any(collected is urls for collected in gc.get_objects())
"""


def test_what_is_loaded_before_the_first_request_is_not_collected_again() -> None:
    environment = os.environ | {"DJANGO_SETTINGS_MODULE": "sandbox_platform.settings"}
    subprocess.run([sys.executable, "-c", FREEZES], env=environment, check=True)
