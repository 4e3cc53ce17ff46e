"""Configuration that a sandbox starts with."""

from dataclasses import dataclass, replace

from clients.models import Client
from runtimes.models import ADJUSTABLE, Limits, Network, Runner, Runtime
from sandboxes import shell
from sandboxes.calls import SandboxKind
from sandboxes.engine import SandboxSpec
from sandboxes.layout import ROW_LABEL
from sandboxes.models import Sandbox
from seccomp_profiles.models import UNCONFINED, SeccompRevision, hash_rules

# Address of images/runner/carrier.py in the sandbox, and the variables in which HTTP libraries look for a proxy.
CARRIER = "http://127.0.0.1:3128"
PROXIED = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), CARRIER) | dict.fromkeys(
    ("NO_PROXY", "no_proxy"), "localhost,127.0.0.1"
)


def profile_in_force(owner: Runtime | Client) -> SeccompRevision | None:
    return owner.seccomp_profile.current if owner.seccomp_profile else None


@dataclass(frozen=True)
class SandboxConfiguration:
    """Image, runtime revision, seccomp profile, network, limits and environment of one sandbox.

    `image` is a reference or a content id. `limits` are the limits of the run and may be below the runtime's.
    """

    runtime: Runtime
    image: str
    revision: int
    profile: SeccompRevision | None
    network: str  # egress: the sandbox starts with a door
    limits: Limits
    environment: dict[str, str]

    @classmethod
    def of_runtime(cls, runtime: Runtime, network: str = Network.NONE) -> "SandboxConfiguration":
        """Return the runtime's present configuration, which warm sandboxes have."""
        return cls(
            runtime=runtime,
            image=runtime.live_image,
            revision=runtime.revision,
            profile=profile_in_force(runtime),
            network=network,
            limits=runtime.limits,
            environment=runtime.environment,
        )

    @property
    def kind(self) -> SandboxKind:
        return self.runtime.pk, self.network

    @property
    def profile_name(self) -> str:
        return self.profile.profile.name if self.profile else UNCONFINED

    @property
    def profile_revision(self) -> int | None:
        return self.profile.number if self.profile else None

    @property
    def profile_sha256(self) -> str:
        return self.profile.sha256 if self.profile else hash_rules(None)

    @property
    def is_pooled(self) -> bool:
        """Whether the pool keeps warm sandboxes with this configuration.

        The session enforces all adjustable limits except memory, so they may differ. runsc can change neither the
        memory limit nor the filter of a running sandbox.
        """
        kept = self.of_runtime(self.runtime, self.network)
        enforced_by_session = {name: getattr(kept.limits, name) for name in ADJUSTABLE if name != "memory_bytes"}
        return replace(self, limits=replace(self.limits, **enforced_by_session)) == kept

    def spec(self, sandbox: Sandbox, door: str = "") -> SandboxSpec:
        egress = self.network == Network.EGRESS
        return SandboxSpec(
            image=sandbox.image_id,
            limits=self.limits,
            runner_config={
                "preload": self.runtime.preload,
                "preload_when_idle": self.runtime.preload_when_idle,
            }
            | ({"commands": self.runtime.commands} if self.runtime.commands else {})
            | ({"egress": True} if egress else {}),
            environment=self.environment | (PROXIED if egress else {}),
            seccomp=self.profile.docker_value if self.profile else UNCONFINED,
            labels={ROW_LABEL: str(sandbox.pk)},
            command=shell.COMMAND if self.runtime.runner == Runner.SHELL else (),
            as_nobody=self.runtime.runner == Runner.SHELL,
            door=door,
        )
