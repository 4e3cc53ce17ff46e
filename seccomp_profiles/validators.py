from typing import Any

from django.core.exceptions import ValidationError

# Measured with runsc 20240729: these three make the container fail to start ("invalid action").
REFUSED_ACTIONS = {"SCMP_ACT_KILL_PROCESS", "SCMP_ACT_LOG", "SCMP_ACT_NOTIFY"}
ACTIONS = {"SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_TRAP", "SCMP_ACT_KILL", "SCMP_ACT_TRACE"}


def validate_profile(rules: Any) -> None:
    """Refuse what gVisor would refuse at start; raises ValidationError naming the rule."""
    if rules is None:
        return
    if not isinstance(rules, dict):
        raise ValidationError("The profile must be a JSON object with defaultAction and syscalls.")
    _validate_action(rules.get("defaultAction"), "defaultAction")
    syscalls = rules.get("syscalls", [])
    if not isinstance(syscalls, list):
        raise ValidationError("syscalls must be a list of rules.")
    for number, rule in enumerate(syscalls, 1):
        where = f"syscalls, rule {number}"
        if not isinstance(rule, dict):
            raise ValidationError(f"{where}: must be an object with names and action.")
        names = rule.get("names")
        if not isinstance(names, list) or not names or not all(isinstance(n, str) and n for n in names):
            raise ValidationError(f"{where}: names must be a list of syscall names.")
        _validate_action(rule.get("action"), f"{where}: action")


def _validate_action(action: Any, where: str) -> None:
    if action in REFUSED_ACTIONS:
        raise ValidationError(f"{where}: gVisor does not start with {action}; use SCMP_ACT_ERRNO.")
    if action not in ACTIONS:
        raise ValidationError(f"{where}: must be one of {', '.join(sorted(ACTIONS))}.")
