"""Signals about the audit trail for higher rooms."""

from django.dispatch import Signal

# Somebody looks at the trail in the console. Arguments: request.
trail_read = Signal()
