from django.apps import AppConfig


class CallbacksConfig(AppConfig):
    name = "executions.callbacks"
    label = "callbacks"
    verbose_name = "Callbacks"

    def ready(self) -> None:
        # This declares its task, too.
        from executions.callbacks import deliveries
        from executions.sources import callback_of

        callback_of.register(deliveries.callback_of)
