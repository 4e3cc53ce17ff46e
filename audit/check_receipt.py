"""Check a receipt of the console's verification, without the platform: this file needs Python 3.10 and nothing else.

    python3 check_receipt.py receipt.json --key FINGERPRINT

FINGERPRINT is that of the first key that signed seals, as you noted it outside of the machine. Shown is whether the
receipt's seals are what this key, or one that it introduced, has signed, and whether they follow each other without a
gap. Exits with status 1 for a finding, and with 2 if the receipt cannot be read.
"""

import argparse
import hashlib
import json
import sys
from base64 import b64decode
from collections.abc import Iterator
from typing import Any, NoReturn

TYPE = "sandbox-platform verification receipt"
Json = dict[str, Any]

# --- Ed25519 (RFC 8032): verification only, so nothing here is secret ---

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
ROOT_OF_MINUS_1 = pow(2, (P - 1) // 4, P)
# A point as (X, Y, Z, T), with x = X/Z, y = Y/Z and x*y = T/Z.
Point = tuple[int, int, int, int]
NEUTRAL: Point = (0, 1, 1, 0)


def add(a: Point, b: Point) -> Point:
    low, high = (a[1] - a[0]) * (b[1] - b[0]) % P, (a[1] + a[0]) * (b[1] + b[0]) % P
    c, z = 2 * a[3] * b[3] * D % P, 2 * a[2] * b[2] % P
    e, f, g, h = high - low, z - c, z + c, high + low
    return e * f % P, g * h % P, f * g % P, e * h % P


def decode(data: bytes) -> Point:
    """Return the point that 32 bytes stand for. Raises ValueError."""
    number = int.from_bytes(data, "little")
    y, sign = number & (2**255 - 1), number >> 255
    if len(data) != 32 or y >= P:
        raise ValueError("not a point")
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if x * x % P != square:
        x = x * ROOT_OF_MINUS_1 % P
    if x * x % P != square or (x == 0 and sign):
        raise ValueError("not a point")
    x = P - x if x & 1 != sign else x
    return x, y, 1, x * y % P


def encode(point: Point) -> bytes:
    inverse = pow(point[2], -1, P)
    x, y = point[0] * inverse % P, point[1] * inverse % P
    return (y | (x & 1) << 255).to_bytes(32, "little")


BASE = decode((4 * pow(5, -1, P) % P).to_bytes(32, "little"))


def is_signed(public_key: bytes, message: bytes, signature: bytes) -> bool:
    try:
        key, scalar = decode(public_key), int.from_bytes(signature[32:], "little")
    except ValueError:
        return False
    if len(signature) != 64 or scalar >= ORDER:
        return False
    digest = hashlib.sha512(signature[:32] + public_key + message).digest()
    challenge = int.from_bytes(digest, "little") % ORDER
    minus_key = P - key[0], key[1], 1, P - key[3]
    summands = {(1, 0): BASE, (0, 1): minus_key, (1, 1): add(BASE, minus_key)}
    result = NEUTRAL
    for bit in reversed(range(253)):
        result = add(result, result)
        if chosen := summands.get((scalar >> bit & 1, challenge >> bit & 1)):
            result = add(result, chosen)
    return encode(result) == signature[:32]


# --- The receipt ---


def trusted_keys(keys: list[Json], pinned: set[str]) -> tuple[dict[str, tuple[int, bytes]], list[str]]:
    """Return the keys that lead back to a pinned one, with their place and bytes; and what is wrong with the others."""
    trusted: dict[str, tuple[int, bytes]] = {}
    problems = []
    for number, key in enumerate(keys):
        name, public = key["fingerprint"], b64decode(key["public_key"])
        words = ("sandbox-platform seal key", name, key["previous"], key["used_from"], "")
        before = trusted.get(key["previous"])
        introduced = before and is_signed(before[1], "\n".join(words).encode(), b64decode(key["signature"] or ""))
        if hashlib.sha256(public).hexdigest() != name:
            problems.append(f"key {name}: this is not the fingerprint of the key")
        elif name in pinned or introduced:
            trusted[name] = number, public
        else:
            problems.append(f"key {name}: neither the key that you noted, nor signed by the key before it")
    return trusted, problems


def hash_of(seal: Json, columns: Json) -> str:
    names = ("sequence", "period_from", "period_to", "count", "root", "previous", "created_at")
    content = {name: seal[name] for name in names} | {"columns": columns[seal["columns"]]}
    if seal["key"]:
        content |= {"key": seal["key"], "statement": seal["statement"]}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def problems_of(receipt: Json, pinned: set[str], heads: dict[int, str]) -> Iterator[str]:
    trusted, problems = trusted_keys(receipt["keys"], pinned)
    yield from problems
    for missing in sorted(pinned - {key["fingerprint"] for key in receipt["keys"]}):
        yield f"key {missing}: the receipt does not have it"
    seals, newest = receipt["seals"], -1
    covered = receipt["verification"]
    wanted = list(range(covered["first"], (covered["reached"] or 0) + 1))
    if [seal["sequence"] for seal in seals] != wanted:
        yield "seals are missing: the receipt does not hold each of those that it is about"
    for seal, before in zip(seals, [None, *seals], strict=False):
        name = f"seal {seal['sequence']}"
        if hash_of(seal, receipt["columns"]) != seal["hash"]:
            yield f"{name}: changed, its hash does not match its content"
        if before and seal["previous"] != before["hash"]:
            yield f"{name}: not chained to the seal before it"
        if heads.get(seal["sequence"], seal["hash"]) != seal["hash"]:
            yield f"{name}: differs from the head that you noted"
        message = f"sandbox-platform seal\n{seal['sequence']}:{seal['hash']}\n".encode()
        if not seal["key"]:
            # From before there were keys: the first signed seal vouches for all of these.
            if newest >= 0 or seal is seals[-1]:
                yield f"{name}: has no signature, and no later seal of this receipt vouches for it"
        elif seal["key"] not in trusted:
            yield f"{name}: signed by a key that is not trusted: {seal['key']}"
        elif not is_signed(trusted[seal["key"]][1], message, b64decode(seal["signature"] or "")):
            yield f"{name}: its signature is wrong"
        elif trusted[seal["key"]][0] < newest:
            yield f"{name}: signed by a key that had been replaced"
        else:
            vouches = (seal["statement"] or {}).get("unsigned")
            if before and not before["key"] and vouches != f"{before['sequence']}:{before['hash']}":
                yield f"{name}: does not vouch for the seals without a signature before it"
            newest = trusted[seal["key"]][0]
    for number in sorted(set(heads) - set(wanted)):
        yield f"seal {number}: you noted its head, and the receipt does not cover it"


def fail(why: str) -> NoReturn:
    print(why, file=sys.stderr)
    sys.exit(2)


def parse_head(text: str) -> tuple[int, str]:
    number, _, hash_ = text.partition(":")
    if not (number.isdigit() and len(hash_) == 64):
        raise argparse.ArgumentTypeError("expected NUMBER:HASH")
    return int(number), hash_.lower()


def parse_fingerprint(text: str) -> str:
    if len(text) != 64 or set(text.lower()) - set("0123456789abcdef"):
        raise argparse.ArgumentTypeError("expected the 64 hexadecimal digits of a fingerprint")
    return text.lower()


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Check a receipt of the console's verification.")
    parser.add_argument("receipt", help="the file, - for standard input")
    parser.add_argument(
        "--key",
        metavar="FINGERPRINT",
        required=True,
        action="append",
        type=parse_fingerprint,
        help="of the first key, as you noted it; repeat it for a key that followed a loss",
    )
    parser.add_argument(
        "--head",
        metavar="NUMBER:HASH",
        action="append",
        default=[],
        type=parse_head,
        help="a head that left the machine; can be repeated",
    )
    options = parser.parse_args(arguments)
    try:
        with sys.stdin if options.receipt == "-" else open(options.receipt, encoding="utf-8") as file:
            receipt = json.load(file)
        if receipt["type"] != TYPE:
            fail("This is not a receipt of a verification.")
        if receipt["version"] != 1:
            fail(f"The receipt has version {receipt['version']}: download this command from the newer platform.")
        found = list(problems_of(receipt, set(options.key), dict(options.head)))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError) as e:
        fail(f"The receipt cannot be read: {type(e).__name__}: {e}")
    for problem in found:
        print(problem)
    if found:
        print(f"{len(found)} findings.")
        sys.exit(1)
    summarize(receipt)


def summarize(receipt: Json) -> None:
    seals, said = receipt["seals"], receipt["verification"]
    if seals:
        rows = sum(seal["count"] for seal in seals)
        print(
            f"Seals {seals[0]['sequence']} to {seals[-1]['sequence']} are signed and chained: {rows} rows, up to "
            f"{seals[-1]['period_to']}. Last: {seals[-1]['sequence']}:{seals[-1]['hash']}"
        )
    else:
        print("The receipt holds no seals: the verification ended before the first.")
    print(
        f"The platform says that it compared {said['rows']} rows with these seals and found {said['finding_count']} "
        f"mismatches ({said['state']}, {said['ended_at']}). That sentence is not signed; the seals are."
    )
    for finding in said["findings"]:
        print(f"  {finding}")


if __name__ == "__main__":
    main()
