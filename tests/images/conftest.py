from tests.executions.sandbox.guest import engine

__all__ = ["engine"]
