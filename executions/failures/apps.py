from django.apps import AppConfig


class FailuresConfig(AppConfig):
    name = "executions.failures"
    label = "failures"
    verbose_name = "Failures"
