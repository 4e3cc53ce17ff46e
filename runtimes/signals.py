"""Signals about runtimes for higher rooms."""

from django.dispatch import Signal

# The runtime no longer uses its live build's image. Arguments: runtime.
build_dropped = Signal()
