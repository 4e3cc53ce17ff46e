from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    OK = "ok"
    WARNING = "warning"  # it works, but not as it should
    BROKEN = "broken"  # programs do not run, or not behind the barrier they should


@dataclass(frozen=True)
class Check:
    name: str
    status: Status
    detail: str
    fix: str = ""


def ok(name: str, detail: str) -> Check:
    return Check(name, Status.OK, detail)


def warning(name: str, detail: str, fix: str) -> Check:
    return Check(name, Status.WARNING, detail, fix)


def broken(name: str, detail: str, fix: str) -> Check:
    return Check(name, Status.BROKEN, detail, fix)
