from seccomp_profiles.models.inspections import Inspection, InspectionKind, InspectionState, InspectionVerdict
from seccomp_profiles.models.profiles import (
    UNCONFINED,
    SeccompActivation,
    SeccompProfile,
    SeccompRevision,
    docker_value,
    hash_rules,
)

__all__ = [
    "UNCONFINED",
    "Inspection",
    "InspectionKind",
    "InspectionState",
    "InspectionVerdict",
    "SeccompActivation",
    "SeccompProfile",
    "SeccompRevision",
    "docker_value",
    "hash_rules",
]
