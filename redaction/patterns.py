"""Patterns of secrets: their syntax, and the shipped ones.

RE2 matches in linear time, whatever pattern an administrator writes and whatever a program prints.
"""

from typing import Any

import re2

# Bytes for a compiled pattern: enough for an alternation of hundreds of words.
MAX_MEMORY = 8 * 1024 * 1024

SHIPPED: dict[str, str] = {
    "AWS access key id": r"\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}\b",
    "AWS secret access key": r"(?i)aws_?secret_?access_?key['\"]?\s{0,3}[:=]\s{0,3}['\"]?[A-Za-z0-9/+=]{40}",
    "GitHub token": r"\b(?:gh[pousr]_[A-Za-z0-9]{36,255}|github_pat_[A-Za-z0-9_]{22,255})\b",
    "GitLab token": r"\bglpat-[A-Za-z0-9_-]{20,}",
    "Slack token": r"\bxox[abeoprs]-[A-Za-z0-9-]{10,}",
    "API key (sk-…)": r"\bsk-[A-Za-z0-9_-]{20,}",
    "Google API key": r"\bAIza[A-Za-z0-9_-]{35}",
    "Bearer token": r"(?i)\bbearer\s+[A-Za-z0-9._~+/-]{16,}=*",
    "JSON Web Token": r"\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+",
    "Private key": r"(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\z)",
    "Password in a URL": r"\b[a-z][a-z0-9+.-]*://[^\s:/@]+:[^\s:/@]+@",
}


class PatternError(Exception):
    """The pattern is not valid, or matches the empty text."""


def compile_pattern(regex: str) -> Any:
    options = re2.Options()
    options.max_mem = MAX_MEMORY
    options.log_errors = False
    try:
        pattern = re2.compile(regex.encode(), options)
    except (re2.error, UnicodeEncodeError) as e:
        reason = e.args[0].decode() if isinstance(e.args[0], bytes) else e
        raise PatternError(f"Not a valid RE2 regular expression: {reason}") from e
    if pattern.search(b""):
        raise PatternError(
            "The pattern matches the empty text, so it would match everywhere. Make it more specific."
        )
    return pattern
