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
from audit.models.retention import ExecutionPart, PurgeRecord, RetentionPolicy
from audit.models.seals import Leaf, Pending, Seal

__all__ = [
    "ClientEvent",
    "EgressRuleEvent",
    "ExecutionPart",
    "Leaf",
    "Pending",
    "PurgeRecord",
    "RedactionPatternEvent",
    "RetentionPolicy",
    "RetentionPolicyEvent",
    "RuntimeBuildEvent",
    "RuntimeEvent",
    "Seal",
    "SeccompActivationEvent",
    "SeccompProfileEvent",
    "SeccompRevisionEvent",
    "TokenEvent",
    "TrailEntry",
]
