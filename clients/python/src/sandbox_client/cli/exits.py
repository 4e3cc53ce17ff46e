"""Exit statuses of the command beside those of programs, as `docker run` and `timeout` have them."""

PLATFORM = 125  # the platform refused or failed, or could not be reached
INTERRUPTED = 130  # Ctrl-C
PIPE_CLOSED = 141  # whoever read the output has gone
