import traceback


def without_text(e: BaseException) -> str:
    """Return the type and the traceback of an exception, without its message, for the log.

    The message may quote user code: Postgres quotes the row that it rejects.
    """
    return f"{type(e).__name__}\n{''.join(traceback.format_tb(e.__traceback__))}"
