from dataclasses import asdict, dataclass
from typing import Any

ERROR, WARNING, INFO = "error", "warning", "info"
LEVELS = (ERROR, WARNING, INFO)


@dataclass(frozen=True)
class Finding:
    """Something about a profile as it is written. With an error it is not used."""

    level: str
    path: str  # as one writes it in JavaScript: syscalls[0].args[1].op
    message: str
    remedy: str = ""
    rule: int | None = None  # counted from 1, as people do
    syscall: str = ""

    def __str__(self) -> str:
        place = f"syscalls, rule {self.rule}" if self.rule else ""
        if key := self.path.rpartition("].")[2] if "]." in self.path or not self.rule else "":
            place = f"{place}: {key}" if place else key
        said = f"{place}: {self.message}" if place else self.message
        return f"{said} {self.remedy}".rstrip()

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)
