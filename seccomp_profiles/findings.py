from dataclasses import asdict, dataclass
from typing import Any

ERROR, WARNING, INFO = "error", "warning", "info"
LEVELS = (ERROR, WARNING, INFO)


@dataclass(frozen=True)
class Finding:
    """A remark about a profile's text. A profile with an error is refused."""

    level: str
    path: str  # in JavaScript's notation: syscalls[0].args[1].op
    message: str
    remedy: str = ""
    rule: int | None = None  # number of the rule, counted from 1
    syscall: str = ""

    def __str__(self) -> str:
        place = f"syscalls, rule {self.rule}" if self.rule else ""
        if key := self.path.rpartition("].")[2] if "]." in self.path or not self.rule else "":
            place = f"{place}: {key}" if place else key
        text = f"{place}: {self.message}" if place else self.message
        return f"{text} {self.remedy}".rstrip()

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)
