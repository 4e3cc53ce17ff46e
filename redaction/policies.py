"""Which clients' executions are redacted. Retention policies say so; their room answers."""

from typing import Any

from sandbox_platform.kit.sources import Source

# By client id; None: the policy of all clients that have none of their own.
redacts_by_client: Source[[], dict[int | None, bool]] = Source("whose executions are redacted")
# Whether any policy redacts, as an expression for a query that is made anyway: if none does, a run reads nothing here.
any_policy_redacts: Source[[], Any] = Source("whether any policy redacts")
