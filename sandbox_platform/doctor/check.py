from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    OK = "ok"
    WARNING = "warning"  # works, with a defect
    BROKEN = "broken"  # programs do not run, or run with less isolation than promised


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
