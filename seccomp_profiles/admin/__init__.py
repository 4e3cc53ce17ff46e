from seccomp_profiles.admin.inspections import InspectionAdmin
from seccomp_profiles.admin.profiles import SeccompProfileAdmin

__all__ = ["InspectionAdmin", "SeccompProfileAdmin"]
