from audit.admin.policies import RetentionPolicyAdmin
from audit.admin.seals import PurgeRecordAdmin, SealAdmin
from audit.admin.trail import TrailAdmin

__all__ = ["PurgeRecordAdmin", "RetentionPolicyAdmin", "SealAdmin", "TrailAdmin"]
