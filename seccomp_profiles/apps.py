from django.apps import AppConfig


class SeccompProfilesConfig(AppConfig):
    name = "seccomp_profiles"
    verbose_name = "Seccomp profiles"
