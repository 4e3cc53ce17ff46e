"""What other rooms may want to know of a runtime."""

from django.dispatch import Signal

# The runtime runs its image as it is from now on, not what a build made of it. Arguments: runtime.
build_dropped = Signal()
