"""What one run gets: resolved when it is submitted, stored in its row, read back by whoever runs or compares it."""

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
    """Something that a run had is not there any more."""


@dataclass(frozen=True)
class RunConfiguration:
    """The columns of Execution that say what a run gets, under the same names.

    `resolve` fixes runtime_revision, network, limits, environment and artifact_suffixes at submission. Image and
    profile stay empty until a sandbox was started: only its node knows what image a reference means there, and a
    profile activated while the run waits counts. If the runtime was changed while the run waited, its new revision
    counts too, because no run starts under an old one; the stored limits then are upper bounds.

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
        """Raises LimitTooHigh."""
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
        """Return the configuration with what a sandbox adds to it or changes."""
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
        """Return what a sandbox started now gets: the runtime as it is, the client's own profile before the
        runtime's, and no more than the stored limits and network."""
        present = SandboxConfiguration.of_runtime(runtime, self.network)
        return replace(
            present,
            profile=profile_in_force(client) if client and client.seccomp_profile else present.profile,
            limits=present.limits.lowered_to(self.limits),
        )

    def as_recorded(self, runtime: Runtime) -> SandboxConfiguration:
        """Return what the run's own sandbox had. Raises NotReproducible."""
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
        """Raises NotReproducible."""
        try:
            return SeccompProfile.objects.with_sha256(self.profile_sha256, name=self.profile_name)
        except SeccompProfile.DoesNotExist as e:
            raise NotReproducible(f"the seccomp profile {self.profile_name} was deleted") from e

    def recorded_limits(self) -> Limits:
        """Raises NotReproducible."""
        try:
            return Limits(**self.limits)
        except TypeError as e:
            raise NotReproducible("the platform has other limits today") from e

    def differences(self, other: "RunConfiguration") -> list[dict[str, Any]]:
        """Return a field, its value here (`then`) and there (`now`) for each difference, by the API's names."""
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
