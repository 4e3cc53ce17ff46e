"""Kubernetes' Pod Security Standards: https://kubernetes.io/docs/concepts/security/pod-security-standards/"""

from collections.abc import Iterator
from typing import Any

Spec = dict[str, Any]
VOLUMES = {
    "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret",
}  # fmt: skip
SELINUX = {None, "", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"}
SYSCTLS = {
    "kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.tcp_syncookies", "net.ipv4.ping_group_range", "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
}  # fmt: skip
PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
PROFILES = {"RuntimeDefault", "Localhost"}


def violations(spec: Spec) -> list[str]:
    """What the standard `restricted` refuses in a pod, as the name of each field."""
    return [*_of_pod(spec), *(each for container in _containers(spec) for each in _of_container(spec, container))]


def _containers(spec: Spec) -> list[Spec]:
    return [
        each for kind in ("initContainers", "containers", "ephemeralContainers") for each in spec.get(kind, ())
    ]


def _of_pod(spec: Spec) -> Iterator[str]:
    yield from (name for name in ("hostNetwork", "hostPID", "hostIPC") if spec.get(name))
    for volume in spec.get("volumes", ()):
        yield from (f"volume {kind}" for kind in set(volume) - {"name"} - VOLUMES)
    context = spec.get("securityContext", {})
    yield from (f"sysctl {one['name']}" for one in context.get("sysctls", ()) if one["name"] not in SYSCTLS)
    yield from _of_context(context)


def _of_context(context: Spec) -> Iterator[str]:
    """What is refused in the security context of a pod and of a container alike."""
    if context.get("runAsUser") == 0:
        yield "runAsUser"
    if context.get("windowsOptions", {}).get("hostProcess"):
        yield "hostProcess"
    if context.get("appArmorProfile", {}).get("type", "RuntimeDefault") not in PROFILES:
        yield "appArmorProfile"
    selinux = context.get("seLinuxOptions", {})
    if selinux.get("type") not in SELINUX or selinux.get("user") or selinux.get("role"):
        yield "seLinuxOptions"
    if context.get("seccompProfile", {}).get("type", "RuntimeDefault") not in PROFILES:
        yield "seccompProfile"


def _of_container(spec: Spec, container: Spec) -> Iterator[str]:
    own, of_pod = container.get("securityContext", {}), spec.get("securityContext", {})
    yield from _of_context(own)
    if own.get("privileged"):
        yield "privileged"
    if own.get("allowPrivilegeEscalation") is not False:
        yield "allowPrivilegeEscalation"
    if own.get("procMount", "Default") != "Default":
        yield "procMount"
    if own.get("runAsNonRoot", of_pod.get("runAsNonRoot")) is not True:
        yield "runAsNonRoot"
    if "seccompProfile" not in own and "seccompProfile" not in of_pod:
        yield "seccompProfile"
    capabilities = own.get("capabilities", {})
    if "ALL" not in capabilities.get("drop", ()):
        yield "capabilities.drop"
    if set(capabilities.get("add", ())) - {"NET_BIND_SERVICE"}:
        yield "capabilities.add"
    if any(port.get("hostPort") for port in container.get("ports", ())):
        yield "hostPort"
    handlers = [container.get(name, {}) for name in PROBES] + list(container.get("lifecycle", {}).values())
    if any(handler.get(kind, {}).get("host") for handler in handlers for kind in ("httpGet", "tcpSocket")):
        yield "host of a probe"
