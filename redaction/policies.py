"""Sources for which clients' executions are redacted. The room of the retention policies registers the answers."""

from typing import Any

from sandbox_platform.kit.sources import Source

# Returns whether to redact, by client id. The key None is for all clients without a policy of their own.
redacts_by_client: Source[[], dict[int | None, bool]] = Source("whose executions are redacted")
# Returns whether any policy redacts, as an expression to add to another query. If none does, a run makes no query here.
any_policy_redacts: Source[[], Any] = Source("whether any policy redacts")
