from django.apps import AppConfig


class InspectionsConfig(AppConfig):
    name = "inspections"
    verbose_name = "Inspections"

    def ready(self) -> None:
        from clients import sources as clients
        from executions import sources as executions
        from inspections import proof, services
        from seccomp_profiles import proof as profiles

        clients.open_inspections.register(services.open_of)
        profiles.proofs.register(proof.proofs)
        profiles.known_bad.register(proof.known_bad)
        executions.readiness_problems.register(services.readiness_problems)
        executions.refused_calls.register(services.refused_calls)
