"""Python's garbage collector, in processes that answer somebody who waits."""

import gc


def freeze() -> None:
    """Before the first work of a process: what is loaded by now stays, and no later collection looks at it.

    A full collection stops every thread; of Django, its admin and the theme it takes 60 to 100 ms, of what
    requests leave 7 to 20 (`python -m bench.console`, 1,000,000 executions).
    """
    gc.collect()
    gc.freeze()
