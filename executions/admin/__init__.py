from django.contrib import admin
from django_q.models import Schedule, Success

from executions.admin.builds import RuntimeBuildAdmin
from executions.admin.clients import ClientAdmin, TokenAdmin
from executions.admin.deliveries import DeliveryAdmin
from executions.admin.executions import ExecutionAdmin
from executions.admin.sandboxes import SandboxAdmin

__all__ = ["ClientAdmin", "DeliveryAdmin", "ExecutionAdmin", "RuntimeBuildAdmin", "SandboxAdmin", "TokenAdmin"]

admin.site.site_header = admin.site.site_title = "Sandbox Platform"
admin.site.index_title = "Overview"
admin.site.site_url = None
# A schedule names any Python function, and the worker, which holds Docker's socket, would call it: with this
# page a login to the admin would be root on the node.
admin.site.unregister(Schedule)
# Empty: results live in the executions.
admin.site.unregister(Success)
