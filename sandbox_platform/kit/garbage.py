"""Tune Python's garbage collector for processes that must answer quickly."""

import gc


def freeze() -> None:
    """Exclude everything loaded so far from later collections. Call it before the process's first work.

    A full collection stops every thread. With Django, its admin and the theme it takes 60 to 100 ms; after freezing
    them, 7 to 20 ms (`python -m bench.console`, 1,000,000 executions).
    """
    gc.collect()
    gc.freeze()
