"""Configuration of one run: resolved at submission, stored in the execution's row, read to run or compare it."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from clients.models import Client
from clients.network import network_of
from executions.limits import effective_limits
from executions.models import Execution
from runtimes.models import Limits, Runtime
from sandboxes.configuration import SandboxConfiguration, profile_in_force
from sandboxes.engine import EngineError
from seccomp_profiles.models import SeccompProfile, SeccompRevision


class NotReproducible(EngineError):
    """Something that the run was configured with no longer exists."""


@dataclass(frozen=True)
class RunConfiguration:
    """The configuration columns of Execution, under the same names.

    `resolve` fixes runtime_revision, network, limits, environment and artifact_suffixes at submission. Image and
    profile stay empty until a sandbox has started: only the node can resolve the image reference, and a profile
    that is activated while the run waits applies to it. If the runtime changes while the run waits, the new revision
    applies, too, because no run starts under an old one. The stored limits are then upper bounds.

    limits: as stored. Rows of an earlier release may lack some of today's.
    artifact_suffixes: endings of the files kept from ./artifacts; None keeps every file.
    """

    image_id: str
    runtime_revision: int
    profile_name: str
    profile_revision: int | None
    profile_sha256: str
    network: str
    limits: Mapping[str, Any]
    environment: dict[str, str]
    artifact_suffixes: list[str] | None

    @classmethod
    def resolve(
        cls,
        runtime: Runtime,
        client: Client | None,
        *,
        limits: Mapping[str, int] | None = None,
        artifact_suffixes: list[str] | None = None,
    ) -> "RunConfiguration":
        """Return the configuration for a run submitted now, without image and profile. Raises LimitTooHigh."""
        return cls(
            image_id="",
            runtime_revision=runtime.revision,
            profile_name="",
            profile_revision=None,
            profile_sha256="",
            network=network_of(runtime, client),
            limits=effective_limits(runtime, client, limits or {}).as_dict(),
            environment=runtime.environment,
            artifact_suffixes=artifact_suffixes,
        )

    @classmethod
    def stored(cls, execution: Execution) -> "RunConfiguration":
        return cls(**{name: getattr(execution, name) for name in COLUMNS})

    def columns(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in COLUMNS}

    def started(self, sandbox: SandboxConfiguration, image_id: str) -> "RunConfiguration":
        """Return a copy with the values of the sandbox that the run started in."""
        return replace(
            self,
            image_id=image_id,
            runtime_revision=sandbox.revision,
            profile_name=sandbox.profile_name,
            profile_revision=sandbox.profile_revision,
            profile_sha256=sandbox.profile_sha256,
            limits=sandbox.limits.as_dict(),
            environment=sandbox.environment,
        )

    def in_force(self, runtime: Runtime, client: Client | None) -> SandboxConfiguration:
        """Return the configuration of a sandbox that starts now.

        It is the runtime's present configuration, with the client's profile if the client has one, the stored
        network, and limits no higher than the stored ones.
        """
        present = SandboxConfiguration.of_runtime(runtime, self.network)
        return replace(
            present,
            profile=profile_in_force(client) if client and client.seccomp_profile else present.profile,
            limits=present.limits.lowered_to(self.limits),
        )

    def as_recorded(self, runtime: Runtime) -> SandboxConfiguration:
        """Return the configuration of the run's original sandbox. Raises NotReproducible."""
        if not self.image_id:
            raise NotReproducible("it never had a sandbox")
        return SandboxConfiguration(
            runtime=runtime,
            image=self.image_id,
            revision=self.runtime_revision,
            profile=self.recorded_profile(),
            network=self.network,
            limits=self.recorded_limits(),
            environment=self.environment,
        )

    def recorded_profile(self) -> SeccompRevision | None:
        """Return the recorded revision, None for no filter. Raises NotReproducible if it was deleted."""
        try:
            return SeccompProfile.objects.with_sha256(self.profile_sha256, name=self.profile_name)
        except SeccompProfile.DoesNotExist as e:
            raise NotReproducible(f"the seccomp profile {self.profile_name} was deleted") from e

    def recorded_limits(self) -> Limits:
        """Return the recorded limits. Raises NotReproducible if their names are not those of today."""
        try:
            return Limits(**self.limits)
        except TypeError as e:
            raise NotReproducible("the platform has a different set of limits today") from e

    def differences(self, other: "RunConfiguration") -> list[dict[str, Any]]:
        """Compare with `other`. Return field (its API name), `then` (value in self) and `now` (value in other)."""
        then, now = self._by_api_name(), other._by_api_name()
        return [
            {"field": name, "then": then.get(name), "now": now.get(name)}
            for name in dict.fromkeys([*then, *now])
            if then.get(name) != now.get(name)
        ]

    def _by_api_name(self) -> dict[str, Any]:
        values = self.columns()
        limits, environment = values.pop("limits"), values.pop("environment")
        return values | {"runtime_environment": environment} | {f"limits.{name}": limits[name] for name in limits}


COLUMNS = tuple(field.name for field in fields(RunConfiguration))
