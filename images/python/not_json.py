"""Explains why what main() returned is not JSON. Imported only then."""

import json

REMEDIES = {
    "Decimal": "float() or str()",
    "datetime": ".isoformat()",
    "date": ".isoformat()",
    "time": ".isoformat()",
    "Timestamp": ".isoformat()",
    "set": "list() or sorted()",
    "frozenset": "list() or sorted()",
    "ndarray": ".tolist()",
    "Series": ".tolist() or .to_dict()",
    "DataFrame": '.to_dict("records")',
    "bytes": ".decode() or base64.b64encode(…).decode()",
    "complex": "str()",
}
PLAIN = (str, int, float, bool, type(None))
ATTEMPTS = 1_000_000  # values looked at before giving up


def explanation(value, error):
    found = culprit(value)
    if not found:
        return f"Error: what main() returned is not JSON: {error}"
    path, wrong = found
    name = type(wrong).__name__
    remedy = REMEDIES.get(name) or (".item()" if hasattr(wrong, "item") and hasattr(wrong, "dtype") else "")
    hint = f" Convert it with {remedy}." if remedy else ""
    return f"Error: what main() returned is not JSON serializable: {path} is of type {name}.{hint}"


def culprit(value):
    """Return the path and the value of the first part that JSON has no form for, or None."""
    waiting = [("result", value, ())]
    for _ in range(ATTEMPTS):
        if not waiting:
            break
        path, each, above = waiting.pop()
        if isinstance(each, PLAIN):
            continue
        if not isinstance(each, (dict, list, tuple)):
            return path, each
        if id(each) in above:
            return None  # circular, which the error says
        above = (*above, id(each))
        if isinstance(each, dict):
            for key in each:
                if not isinstance(key, PLAIN):
                    return f"the key {key!r:.100} of {path}", key
            parts = [(f"{path}[{json.dumps(key)}]", part, above) for key, part in each.items()]
        else:
            parts = [(f"{path}[{at}]", part, above) for at, part in enumerate(each)]
        waiting += reversed(parts)
    return None
