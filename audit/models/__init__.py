from audit.models.acts import Act, Setting
from audit.models.changes import (
    ClientEvent,
    EgressRuleEvent,
    RedactionPatternEvent,
    RetentionPolicyEvent,
    RuntimeBuildEvent,
    RuntimeEvent,
    SeccompActivationEvent,
    SeccompProfileEvent,
    SeccompRevisionEvent,
    TokenEvent,
    TrailEntry,
)
from audit.models.disclosures import ShownSecret
from audit.models.retention import ExecutionPart, PurgeRecord, RetentionPolicy
from audit.models.seals import HeadDestination, Leaf, Pending, Seal, SealingFailure, SealKey
from audit.models.verifications import Verification

__all__ = [
    "Act",
    "ClientEvent",
    "EgressRuleEvent",
    "ExecutionPart",
    "HeadDestination",
    "Leaf",
    "Pending",
    "PurgeRecord",
    "RedactionPatternEvent",
    "RetentionPolicy",
    "RetentionPolicyEvent",
    "RuntimeBuildEvent",
    "RuntimeEvent",
    "Seal",
    "SealKey",
    "SealingFailure",
    "SeccompActivationEvent",
    "SeccompProfileEvent",
    "SeccompRevisionEvent",
    "Setting",
    "ShownSecret",
    "TokenEvent",
    "TrailEntry",
    "Verification",
]
