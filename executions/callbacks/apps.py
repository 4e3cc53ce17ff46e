from django.apps import AppConfig


class CallbacksConfig(AppConfig):
    name = "executions.callbacks"
    label = "callbacks"
    verbose_name = "Callbacks"
