from django.apps import AppConfig


class ExecutionsConfig(AppConfig):
    name = "executions"

    def ready(self) -> None:
        from clients import sources as clients
        from executions import figures, idle
        from executions.models import Execution
        from runtimes import sources as runtimes

        runtimes.idle_memory.register(idle.idle_memory)
        clients.open_executions.register(Execution.objects.count_open)
        clients.open_executions_of_outer.register(Execution.objects.open_of_outer_client)
        clients.runs_by_day.register(figures.daily)
