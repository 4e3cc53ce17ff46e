from audit.admin.policies import RetentionPolicyAdmin
from audit.admin.seals import PurgeRecordAdmin, SealAdmin
from audit.admin.trail import TrailAdmin
from audit.admin.verifications import VerificationAdmin

__all__ = ["PurgeRecordAdmin", "RetentionPolicyAdmin", "SealAdmin", "TrailAdmin", "VerificationAdmin"]
