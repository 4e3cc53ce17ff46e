from django.apps import AppConfig


class AuditConfig(AppConfig):
    name = "audit"
    verbose_name = "Audit"

    def ready(self) -> None:
        from audit import (
            acts,
            disclosures,
            heads,  # noqa: F401 -- declares its task
            verifications,  # noqa: F401 -- declares its task
        )
        from audit.models import PurgeRecord, RetentionPolicy
        from executions import sources as executions
        from redaction import policies
        from sandbox_platform.kit import acts as kit_acts
        from sandbox_platform.kit import disclosures as kit_disclosures

        kit_acts.record.register(acts.record)
        kit_disclosures.record.register(disclosures.record)
        executions.cancelled_by.register(acts.cancelled_by)
        executions.purged_output.register(PurgeRecord.objects.purged_output)
        policies.redacts_by_client.register(RetentionPolicy.objects.redacts_by_client)
        policies.any_policy_redacts.register(RetentionPolicy.objects.any_redacts)
