"""Run the pip of a wheel, which is the first argument. It reaches nothing, so it needs no certificates.

Debian's pip loads those of the system at its start, and fails in an image that has none.
"""

import contextlib
import runpy
import sys

with contextlib.suppress(ImportError):
    import ssl

    ssl.SSLContext.load_verify_locations = lambda *_, **__: None  # type: ignore[method-assign]
sys.path.insert(0, sys.argv.pop(1))
runpy.run_module("pip", run_name="__main__", alter_sys=True)
