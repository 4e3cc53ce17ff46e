from django.apps import AppConfig


class CallbacksConfig(AppConfig):
    name = "executions.callbacks"
    label = "callbacks"
    verbose_name = "Callbacks"

    def ready(self) -> None:
        from executions.callbacks import deliveries  # noqa: F401 -- declares its task
