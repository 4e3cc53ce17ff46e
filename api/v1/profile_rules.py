"""JSON Schema of a seccomp profile in Docker's format.

The schema matches seccomp_profiles.validators as far as JSON Schema can express its checks.
"""

from typing import Any

from drf_spectacular.utils import extend_schema_field

from sandbox_platform.kit.schemas import AnyJson
from seccomp_profiles.rules import ACTION_WORDS, OPERATORS
from seccomp_profiles.validators import KERNEL, UINT64

Schema = dict[str, Any]

TEXT: Schema = {"type": ["string", "null"]}
TEXTS: Schema = {"type": ["array", "null"], "items": {"type": "string"}}
NAME: Schema = {"type": "string", "minLength": 1}
NAMES: Schema = {"type": "array", "items": NAME, "minItems": 1}
ACTION: Schema = {"type": "string", "enum": sorted(ACTION_WORDS)}
ERRNO: Schema = {"type": ["integer", "null"], "minimum": 0, "maximum": 2**16 - 1}
VALUE: Schema = {"type": "integer", "minimum": 0, "maximum": UINT64 - 1, "default": 0}
CONDITION: Schema = {
    "type": "object",
    "properties": {
        "index": {"type": "integer", "minimum": 0, "maximum": 5, "default": 0},
        "value": VALUE,
        "valueTwo": VALUE,
        "op": {"type": "string", "enum": list(OPERATORS)},
    },
    "required": ["op"],
}
FILTER: Schema = {
    "type": ["object", "null"],
    "properties": {
        "arches": TEXTS,
        "caps": TEXTS,
        "minKernel": {"type": ["string", "null"], "pattern": f"^{KERNEL.pattern}$"},
    },
}
RULE: Schema = {
    "type": "object",
    "properties": {
        "action": ACTION,
        "errnoRet": ERRNO,
        "args": {"type": ["array", "null"], "items": CONDITION},
        "comment": TEXT,
        "includes": FILTER,
        "excludes": FILTER,
    },
    "required": ["action"],
    "anyOf": [
        {"properties": {"names": NAMES, "name": {"type": "null"}}, "required": ["names"]},
        {"properties": {"name": NAME, "names": {"type": ["array", "null"], "maxItems": 0}}, "required": ["name"]},
    ],
}
ARCHITECTURE: Schema = {
    "type": "object",
    "properties": {"architecture": TEXT, "subArchitectures": TEXTS},
}
PROFILE: Schema = {
    "type": "object",
    "properties": {
        "defaultAction": ACTION,
        "defaultErrnoRet": ERRNO,
        "architectures": TEXTS,
        "archMap": {"type": ["array", "null"], "items": ARCHITECTURE},
        "flags": TEXTS,
        "listenerPath": TEXT,
        "listenerMetadata": TEXT,
        "syscalls": {"type": ["array", "null"], "items": RULE},
    },
    "required": ["defaultAction"],
}


@extend_schema_field(PROFILE)
class Rules(AnyJson):
    pass
