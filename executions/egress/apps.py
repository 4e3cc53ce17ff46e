from typing import Any

from django.apps import AppConfig


class EgressConfig(AppConfig):
    name = "executions.egress"
    label = "egress"
    verbose_name = "Egress"

    def ready(self) -> None:
        from executions.egress import policy
        from executions.sources import starting

        def settle(execution: Any, **_: Any) -> None:
            policy.settle(execution)

        starting.connect(settle, weak=False, dispatch_uid="egress.settle")
