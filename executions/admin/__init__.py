from executions.admin.builds import RuntimeBuildAdmin
from executions.admin.clients import ClientAdmin, TokenAdmin
from executions.admin.deliveries import DeliveryAdmin
from executions.admin.egress import EgressRuleAdmin
from executions.admin.executions import ExecutionAdmin
from executions.admin.sandboxes import SandboxAdmin

__all__ = [
    "ClientAdmin",
    "DeliveryAdmin",
    "EgressRuleAdmin",
    "ExecutionAdmin",
    "RuntimeBuildAdmin",
    "SandboxAdmin",
    "TokenAdmin",
]
