from console.admin.logins import AccessAttemptAdmin, AccessLogAdmin
from console.admin.people import GroupAdmin, UserAdmin
from console.admin.queue import FailureAdmin, QueueAdmin
from console.admin.sessions import UserSessionAdmin

__all__ = [
    "AccessAttemptAdmin",
    "AccessLogAdmin",
    "FailureAdmin",
    "GroupAdmin",
    "QueueAdmin",
    "UserAdmin",
    "UserSessionAdmin",
]
