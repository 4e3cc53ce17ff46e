import traceback


def without_text(e: BaseException) -> str:
    """What a log may know of a failure: its type and where. Its text may quote a row, and with it a program:
    Postgres does so of what it refuses."""
    return f"{type(e).__name__}\n{''.join(traceback.format_tb(e.__traceback__))}"
