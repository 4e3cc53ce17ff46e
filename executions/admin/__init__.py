from executions.admin.executions import ExecutionAdmin

__all__ = ["ExecutionAdmin"]
