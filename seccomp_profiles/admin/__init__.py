from seccomp_profiles.admin.profiles import SeccompProfileAdmin

__all__ = ["SeccompProfileAdmin"]
