"""What is fuzzed: functions that read what a stranger wrote, each with what must hold whatever it is given.

A target gets bytes and raises if something does not hold. What its function documents as its errors is no finding.
Django must be set up; no target needs a database.
"""

import io
import json
import re
import tempfile
from collections import Counter
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings
from django.core.exceptions import ValidationError

from api.compatible import piston, versions
from api.compatible.judge0 import parsing as judge0
from api.compatible.librechat import ids as librechat
from api.mcp import protocol as mcp
from api.ragflow import contract
from api.v1.problems import Problem
from audit import check_receipt
from executions import bounds
from executions.egress import models as egress
from fuzzing.bites import Bites, any_json
from redaction.patterns import SHIPPED, PatternError, compile_pattern
from runtimes import manifests, packages
from runtimes.code_policy import RULES, javascript, python
from runtimes.models import Runtime
from sandbox_platform.kit.json_size import TooManyValues
from sandboxes import protocol, session, tracing
from seccomp_profiles import advice, derivation, diff, rules, validators
from seccomp_profiles.findings import ERROR
from seccomp_profiles.shipped import PROFILES

Function = Callable[[bytes], None]
LIMIT = 4096  # of a frame, so that a small input reaches it


@dataclass(frozen=True)
class Target:
    name: str
    function: Function
    reads: str
    seeds: tuple[bytes, ...]


class Broken(Exception):
    """Something that must hold does not."""


def expect(condition: object, what: str) -> None:
    if not condition:
        raise Broken(what)


def frames(data: bytes) -> None:
    """However the stream is cut, the frames are the same, and no more is kept than one frame may have."""
    bites = Bites(data)
    step = bites.byte() + 1
    stream = bites.rest()
    whole, in_steps = _cut(stream, len(stream) or 1), _cut(stream, step)
    expect(whole == in_steps, "the frames depend on how the stream was cut")


def _cut(stream: bytes, step: int) -> tuple[list[tuple[bytes, bytes]], bool]:
    parser = protocol.Frames(LIMIT)
    found: list[tuple[bytes, bytes]] = []
    try:
        for at in range(0, len(stream), step):
            found += parser.feed(stream[at : at + step])
            expect(len(parser._buffer) < LIMIT + 5 + step, "the buffer grows")
    except protocol.ProtocolError:
        # What was whole before the fault may have been given or not.
        return found, False
    return found, True


def payloads(data: bytes) -> None:
    """The runner's payloads are sound or refused."""
    session.speaks_our_version(data)
    with suppress(protocol.ProtocolError):
        end = protocol.End.parse(data)
        expect((end.exit_code is None) != (end.signal is None), "both or neither of status and signal")
        expect(len(end.dropped) <= protocol.MAX_DROPPED, "too many dropped files")
    with suppress(protocol.ProtocolError):
        expect(0 <= protocol.parse_compiled(data) <= 255, "no exit status")
    with suppress(protocol.ProtocolError):
        name, _ = protocol.parse_artifact(data)
        expect(Path("/x", name).resolve().parent == Path("/x"), f"{name!r} leaves the folder")


def manifest(data: bytes) -> None:
    """A manifest is loaded, or refused with its place."""
    folder = _folder() / "forth"
    folder.mkdir(exist_ok=True)
    path = folder / "runtime.toml"
    path.write_bytes(data)
    with suppress(manifests.ManifestError):
        loaded = manifests.load(path)
        expect(loaded.slug == "forth", "the slug is not the folder's name")
        json.dumps(loaded.fields)


_FOLDERS: list[tempfile.TemporaryDirectory[str]] = []


def _folder() -> Path:
    if not _FOLDERS:
        _FOLDERS.append(tempfile.TemporaryDirectory(prefix="fuzzing-", dir="/dev/shm"))  # noqa: S108 -- in memory
    return Path(_FOLDERS[0].name)


SECCOMP_WORDS = (
    *validators.TOP_KEYS, *validators.RULE_KEYS, *validators.ARG_KEYS, *validators.FILTER_KEYS,
    *validators.ARCHITECTURE_KEYS, *rules.ACTION_WORDS, *rules.OPERATORS, *validators.REFUSED_ACTIONS,
    "SCMP_ARCH_X86_64", "read", "write", "openat", "ptrace", "4.8", "CAP_SYS_ADMIN", "amd64",
)  # fmt: skip


def profile(data: bytes) -> None:
    """A profile without an error can be explained, derived from, and compared."""
    value = any_json(data, SECCOMP_WORDS)
    found = validators.findings(value)
    if value is None or any(finding.level == ERROR for finding in found):
        return
    explained = rules.outcomes(value)
    expect(all(outcome for outcome in explained.values()), "a call without an outcome")
    derived = derivation.derive(value, allow=["read"], deny=["ptrace"])
    now = rules.outcomes(derived)
    expect(
        not rules.always_denied(now["read"]) and rules.always_denied(now["ptrace"]), "the derivation has no effect"
    )
    expect(
        not any(finding.level == ERROR for finding in validators.findings(derived)), "a derived profile has errors"
    )
    diff.diff(value, derived)
    advice.advice_on_rules(value)


def code_policy(data: bytes) -> None:
    """Any text is judged: no program keeps the judge from its end."""
    code = data.decode("utf-8", "replace")
    for find in (python.find, javascript.find):
        for violation in find(code, RULES.keys()):
            expect(violation.rule in RULES, "a rule that there is not")


RUNTIME = Runtime(source_file="main.py")
JUDGE0 = {
    "source_code": "cHJpbnQoMSk=",
    "language_id": 71,
    "stdin": "in",
    "expected_output": "1",
    "command_line_arguments": "-v 'a b'",
    "cpu_time_limit": "2.5",
    "memory_limit": 128000,
    "number_of_runs": 1,
}
PACKAGE = re.compile(r"[^\s;&|<>$`'\"\\()-][^\s;&|$`'\"\\()]*")


def package_lists(data: bytes) -> None:
    """An accepted package is one word without a shell's characters, and no option."""
    value = any_json(data, (*packages.ECOSYSTEMS, "jq", "requests==2.32.3", "@types/node@^20", "a[b]>=1,<2"))
    if packages.problems(value):
        return
    for names in value.values():
        for name in names:
            expect(PACKAGE.fullmatch(name), f"{name!r} was accepted")


def redaction(data: bytes) -> None:
    """A pattern compiles or is refused, and what it matches lies inside the text."""
    bites = Bites(data, tuple(SHIPPED.values()))
    with suppress(PatternError):
        pattern = compile_pattern(bites.text())
        text = bites.rest()
        for match in pattern.finditer(text):
            expect(0 <= match.start() < match.end() <= len(text), "an empty match")


def request_body(data: bytes) -> None:
    """POST /run gives a request with text, or an error that the caller can read."""
    bites = Bites(data, ("code_b64", "language", "arguments", "python", "nodejs", "cHJpbnQoMSk=", "NaN"))
    media = ("application/json", "application/x+json; charset=utf-8", "text/plain", "")[bites.byte() % 4]
    body = bites.rest()
    if bites.byte() % 2 == 0:
        body = json.dumps(any_json(body, ("code_b64", "language", "arguments", "python", "cHJpbnQoMSk="))).encode()
    try:
        run = contract.parse_request(body, media)
    except contract.Malformed as malformed:
        expect(malformed.message, "an error without a message")
    except (TooManyValues, bounds.OverBound):
        pass
    else:
        json.loads(run.arguments)
        run.code.encode()


def mcp_message(data: bytes) -> None:
    """POST /mcp has one message in a revision that is served, or an error that can be sent."""
    words = ("jsonrpc", "2.0", "id", "method", "params", "tools/call", "name", "arguments", "_meta", *MCP_META)
    bites = Bites(data, words)
    headers = {mcp.VERSION_HEADER: (*mcp.SUPPORTED, "")[bites.byte() % 4]}
    headers |= {"Mcp-Method": "tools/call", "Mcp-Name": ("run_code", "=?base64?cnVu?=")[bites.byte() % 2]}
    try:
        message = mcp.message_of(any_json(bites.rest(), words), headers)
        mcp.check_params(message)
    except mcp.RpcError as error:
        mcp.encoded(mcp.error_of(error, None))
    else:
        expect(message.version in mcp.SUPPORTED, "a revision that is not served")
        expect(isinstance(message.params, dict), "parameters that are no object")


def judge0_submission(data: bytes) -> None:
    """A submission of Judge0 gives a form with a program, texts and whole limits, or an error that names a field."""
    value = any_json(data, (*JUDGE0, *judge0.SWITCHES, *judge0.NOT_ALLOWED))
    if not isinstance(value, dict):
        return
    for encoded in (False, True):
        try:
            form = judge0.form_of(value, base64_encoded=encoded, as_stored=str)
            judge0.language_id(value)
        except Problem as problem:
            expect(problem.field and problem.text, "an error without a field")
        else:
            expect(form["code"], "no program")
            expect(all(isinstance(argument, str) for argument in form["argv"]), "an argument that is no text")
            expect(
                all(type(limit) is int and limit > 0 for limit in form["limits"].values()), "a limit of nothing"
            )


def piston_files(data: bytes) -> None:
    """Files of Piston are files for a form of /api/v1, and a range of versions fits or does not."""
    bites = Bites(data, ("name", "content", "encoding", "base64", "hex", "*", "^3.1", ">=3 <4", "||"))
    versions.fits("3.13.0", bites.text())
    with suppress(Problem):
        files, program = piston.files_of(any_json(bites.rest(), ("name", "content", "encoding", "hex")), RUNTIME)
        expect(program in [file["path"] for file in files], "no program")
        expect(all(len(file) == 2 and isinstance(file["path"], str) for file in files), "a file without a content")


def librechat_session(data: bytes) -> None:
    """A session of LibreChat names one execution, under no other name, or none."""
    text = data.decode("utf-8", "replace")
    pk = librechat.pk_of(text)
    expect(pk is None or librechat.session_of(pk) == text, "an execution with two names")


def domains(data: bytes) -> None:
    """An allowed domain is a name in normal form, and covers itself and nothing beside it."""
    text = data.decode("utf-8", "replace")
    with suppress(ValidationError):
        name = egress.normal_domain(text)
        egress.validate_domain(name)
        expect(egress.normal_domain(name) == name, f"{name!r} is not in normal form")
        host = name.removeprefix(".")
        expect(egress.covers(name, host), f"{name!r} does not cover {host!r}")
        expect(not egress.covers(name, f"evil{host}"), f"{name!r} covers evil{host}")
        expect(not egress.covers(name, f"{host}.evil.example"), f"{name!r} covers {host}.evil.example")


TRACE = b"I1129 14:00:00.000000       1 config.go:310] Debug: true. Strace: true, max size: 1\n"
CALL = b"I1129 14:00:00.000000       1 strace.go:567] [   1:   1] sh E openat(AT_FDCWD /x, 0x7e, O_RDONLY)\n"
REFUSED = b"D1129 14:00:00.000000       1 task_syscall.go:100] [   1:   1] Syscall 101: denied by seccomp\n"


def trace(data: bytes) -> None:
    """What stands in a log adds names, and takes none away."""
    alone, beside = tracing.Trace(), tracing.Trace()
    lines = data if data.endswith(b"\n") else data + b"\n"
    with suppress(tracing.TraceError):
        alone.take(TRACE + CALL + REFUSED)
        beside.take(TRACE + CALL + lines + REFUSED)
        expect(beside.complete, "the log's head is lost")
        expect(not Counter(alone.called) - beside.called, "a call is lost")
        expect(not Counter(alone.refused) - beside.refused, "a refusal is lost")


RECEIPT_WORDS = ("type", "seals", "key", "signature", "number", "previous", "digest", "keys", check_receipt.TYPE)


def receipt(data: bytes) -> None:
    """A receipt that a stranger made is never good, and always answered."""
    path = _folder() / "receipt.json"
    path.write_text(json.dumps(any_json(data, RECEIPT_WORDS)), encoding="utf-8")
    silent, status = io.StringIO(), 0
    with redirect_stdout(silent), redirect_stderr(silent):
        try:
            check_receipt.main([str(path), "--key", "a" * 64])
        except SystemExit as ended:
            status = int(ended.code or 0)
    expect(status in (1, 2), "a receipt without a signature of the key was found good")


def _seed(value: object) -> bytes:
    return json.dumps(value).encode()


END = {
    "exit_code": 0, "signal": None, "stdout_bytes": 1, "stderr_bytes": 0, "result_bytes": None, "cold": False,
    "dropped": [["a", "too large"]],
}  # fmt: skip
DEEP = b"[" * 50_000
REQUEST = {"code_b64": "cHJpbnQoMSk=", "language": "python", "arguments": {"a": [1]}}
MCP_META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
}
CALLED = {"name": "run_code", "arguments": {"language": "python"}, "_meta": MCP_META}
MESSAGE = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": CALLED}
PACKAGES = {"pip": ["requests==2.32.3", "a[b]>=1,<2"], "apt": ["jq=1.7"], "npm": ["@types/node@^20"]}
SEEDS: dict[Function, tuple[str, tuple[bytes, ...]]] = {
    frames: ("the runner's frames", (b"\3O\0\0\0\1xC\0\0\0\2{}", b"\0X\0\0\0\5AAAAAA", b"\7H\xff\xff\xff\xff")),
    payloads: (
        "the payloads of the runner's frames",
        (_seed(END), b"\0\5a.csvx", b'{"exit_code": 3}', DEEP, b"\0\2..", b"\0\3a/b"),
    ),
    manifest: (
        "manifests of runtimes",
        tuple(path.read_bytes() for path in sorted((settings.BASE_DIR / "images").glob("*/runtime.toml"))[:6]),
    ),
    profile: (
        "seccomp profiles",
        (*(_seed(shipped.rules) for shipped in PROFILES.values()), b'{"defaultAction": "SCMP_ACT_ALLOW"}', DEEP),
    ),
    code_policy: (
        "programs, as the code policies do",
        (b"import os\nprint(f'{1!r}')", b"require('fs'); eval ('1')", b"(" * 3000, b"x = '\\ud800'"),
    ),
    package_lists: ("lists of packages", (_seed(PACKAGES),)),
    redaction: ("patterns of secrets", (b"\0sk-" + b"A" * 30, b"\xff\x04a{9}aaaaaaaaaaa")),
    request_body: ("the body of POST /run", (b"\0" + _seed(REQUEST), b"\0" + DEEP)),
    mcp_message: (
        "the message of POST /mcp",
        (b"\0\0" + _seed(MESSAGE), b"\1\0" + _seed(MESSAGE), b"\0\0" + DEEP),
    ),
    judge0_submission: ("submissions of Judge0", (_seed(JUDGE0),)),
    piston_files: ("files and versions of Piston", (b"\x04>=3.x" + _seed([{"name": "a.py", "content": "1"}]),)),
    librechat_session: ("sessions of LibreChat", (b"GnVoXKEdOCqAAAAAAAAAA", b"-" * 21)),
    domains: ("domains of the egress allow-list", (b".Example.com.", "bücher.example".encode())),
    trace: ("gVisor's log of system calls", (CALL, REFUSED, b"*** Dropped 3 lines")),
    receipt: ("receipts of the verification", (_seed({"type": check_receipt.TYPE, "seals": []}),)),
}
TARGETS = {
    function.__name__: Target(function.__name__, function, reads, seeds)
    for function, (reads, seeds) in SEEDS.items()
}
