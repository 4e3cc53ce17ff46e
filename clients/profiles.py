"""Find the runtimes whose programs run under a seccomp profile."""

from django.db.models import Q

from clients.models import Client
from runtimes.models import Runtime
from seccomp_profiles.models import SeccompProfile


def runtimes_under(profile: SeccompProfile) -> list[Runtime]:
    """Return the enabled runtimes whose programs run under the profile.

    The profile may be the runtime's, or that of an enabled client that may use the runtime.
    """
    wanted = Q(seccomp_profile=profile)
    for client in Client.objects.filter(seccomp_profile=profile, enabled=True):
        wanted |= Q(slug__in=client.allowed_runtimes) if client.allowed_runtimes else Q(pk__isnull=False)
    return list(Runtime.objects.enabled().filter(wanted))
