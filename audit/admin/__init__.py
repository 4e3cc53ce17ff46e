from audit.admin.policies import RedactionPatternAdmin, RetentionPolicyAdmin
from audit.admin.seals import PurgeRecordAdmin, SealAdmin
from audit.admin.trail import TrailAdmin

__all__ = ["PurgeRecordAdmin", "RedactionPatternAdmin", "RetentionPolicyAdmin", "SealAdmin", "TrailAdmin"]
