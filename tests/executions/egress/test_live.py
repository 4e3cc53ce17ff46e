"""What programs in real sandboxes reach through the door, and what they do not."""

import contextlib
import json
import socket
import threading
from typing import Any

import pytest

from tests.executions.egress.conftest import ALLOWED, INSIDE, MOST, MOST_MIB, OTHER, SUB, World, told
from tests.executions.egress.programs import FETCH, LANGUAGES, around, fetch
from tests.live import eventually

pytestmark = pytest.mark.needs_docker


@pytest.mark.parametrize("language", LANGUAGES)
def test_allowed_host_is_reached(egress: World, language: str) -> None:
    assert fetch(egress, language, f"http://{ALLOWED}/", f"https://{ALLOWED}/") == [200, 200]


@pytest.mark.parametrize("language", LANGUAGES)
def test_domain_is_allowed_with_what_is_below_it_and_no_other_host_is(egress: World, language: str) -> None:
    urls = [f"http://{SUB}/", f"http://{OTHER}/", f"https://{OTHER}/", f"http://x{ALLOWED}/"]
    assert fetch(egress, language, *urls) == [200, 403, 403, 403]


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_nothing_inside_is_reached_though_its_name_is_allowed(egress: World, language: str, scheme: str) -> None:
    ran = egress.call(FETCH[language], language, argv=[f"{scheme}://{host}/" for host in INSIDE])
    assert told(ran) == [403] * len(INSIDE)
    assert {r["reason"] for r in egress.requests_of(ran)} == {"address"}
    assert not any(r["allowed"] for r in egress.requests_of(ran))


@pytest.mark.parametrize("language", LANGUAGES)
def test_addresses_are_never_allowed(egress: World, language: str) -> None:
    hosts = [egress.address, "10.1.2.3", "169.254.169.254", "[fd00::1]", "1.1.1.1"]
    assert fetch(egress, language, *(f"http://{host}/" for host in hosts)) == [403] * len(hosts)


def test_the_stack_s_own_services_are_not_reached_by_any_port(egress: World) -> None:
    code = """
import http.client, json, sys
def connect(target):
    host, port = target.rsplit(":", 1)
    tunnel = http.client.HTTPConnection("127.0.0.1", 3128, timeout=10)
    tunnel.set_tunnel(host, int(port))
    try:
        tunnel.request("GET", "/")
        return tunnel.getresponse().status
    except OSError as e:
        return str(e)
print(json.dumps([connect(target) for target in sys.argv[1:]]))
"""
    database = egress.platform.postgres.url.rpartition(":")[2].partition("/")[0]
    targets = [f"loopback.inside.test:{port}" for port in (database, egress.platform.port, 80)]
    answers = told(egress.call(code, argv=[*targets, f"{ALLOWED}:22", f"postgres:{database}", "web:9385"]))
    assert all("403" in answer for answer in answers), answers


@pytest.mark.parametrize("language", LANGUAGES)
def test_around_the_proxy_there_is_nothing(egress: World, language: str) -> None:
    found = around(egress, language)
    assert found.pop("proxies")
    assert (found.pop("door"), found.pop("carrier"), found.pop("docker")) == (True, "reached", False)
    assert "reached" not in found.values(), found


def test_axios_goes_through_the_proxy(egress: World) -> None:
    code = f"""
process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0';
const axios = require('axios');
(async () => {{
  const ok = await axios.get('https://{ALLOWED}/a');
  const not = await axios.get('https://{OTHER}/').catch((e) => e.response.status);
  console.log(JSON.stringify([ok.data.path, not]));
}})();
"""
    assert told(egress.call(code, "nodejs")) == ["/a", 403]


def test_requests_goes_through_the_proxy(egress: World) -> None:
    code = f"""
import json, requests, urllib3
urllib3.disable_warnings()
with requests.Session() as session:
    first = session.post("https://{ALLOWED}/a", data=b"x" * 300_000, verify=False).json()["got"]
    again = session.get("https://{ALLOWED}/b", verify=False).json()["path"]
print(json.dumps([first, again, requests.get("http://{OTHER}/").status_code]))
"""
    assert told(egress.call(code)) == [300_000, "/b", 403]


# --- None ---


@pytest.fixture(params=["client", "runtime"])
def without(request: pytest.FixtureRequest, egress: World) -> Any:
    """One of the two has no egress."""
    one = request.param

    def be(network: str) -> None:
        if one == "client":
            egress.platform.sql("UPDATE executions_client SET network = %s WHERE name = 'ragflow'", network)
        else:
            for slug in LANGUAGES:
                egress.platform.change_runtime(slug, network=network)

    be("none")
    yield one
    be("egress")


@pytest.mark.parametrize("language", LANGUAGES)
def test_without_egress_there_is_nothing_at_all(egress: World, without: str, language: str) -> None:
    found = around(egress, language)
    assert (found.pop("door"), found.pop("proxies"), found.pop("docker")) == (False, [], False)
    assert "reached" not in found.values(), found


def test_without_egress_the_record_says_so(egress: World, without: str) -> None:
    ran = egress.call("print(1)")
    assert (ran["network"], ran["egress"], ran["egress_rules"]) == ("none", None, [])
    assert egress.get(f"{ran['id']}/requests") == []


# --- Whose it is ---


def test_a_forged_identity_does_not_help(egress: World) -> None:
    """Straight to the door, with what the gateway says before: it is taken for a request, and no good one."""
    victim = egress.call("print(1)")
    code = """
import ipaddress, json, socket, sys, uuid
def say(text):
    with socket.socket(socket.AF_UNIX) as door:
        door.settimeout(10)
        door.connect("/run/egress/door")
        door.sendall(text.encode())
        try:
            return door.recv(100).decode(errors="replace").split("\\r\\n")[0]
        except OSError as e:
            return type(e).__name__
other = ipaddress.IPv6Address(uuid.UUID(sys.argv[1]).int)
get = "GET http://%s/ HTTP/1.1\\r\\nHost: %s\\r\\n" % (sys.argv[2], sys.argv[2])
print(json.dumps([
    say(f"PROXY TCP6 {other} ::1 1 3128\\r\\n{get}\\r\\n"),
    say(f"{get}Proxy-Authorization: Basic eDp5\\r\\nX-Forwarded-For: {other}\\r\\nConnection: close\\r\\n\\r\\n"),
]))
"""
    ran = egress.call(code, argv=[victim["id"], ALLOWED])
    first, second = told(ran)
    assert " 200 " not in first
    assert " 200 " in second
    assert egress.get(f"{victim['id']}/requests") == []
    assert ("GET", ALLOWED, True) in [(r["method"], r["host"], r["allowed"]) for r in egress.requests_of(ran)]


def test_a_sandbox_sees_its_own_door_only(egress: World) -> None:
    code = """
import json, os
print(json.dumps([os.listdir("/run/egress"), os.path.exists("/run/egress/../control")]))
"""
    assert told(egress.call(code)) == [["door"], False]


def test_the_door_s_folder_cannot_be_written(egress: World) -> None:
    code = """
import json, os
def attempt(what):
    try:
        what()
    except OSError as e:
        return type(e).__name__
    return "done"
print(json.dumps([attempt(lambda: open("/run/egress/x", "w")), attempt(lambda: os.unlink("/run/egress/door"))]))
"""
    assert "done" not in told(egress.call(code))


def test_a_warm_sandbox_is_dark_until_it_is_somebodys(egress: World) -> None:
    """Its door is there, and nobody is let through: the program that waits in it is nobody's yet."""

    def ready() -> Any:
        return egress.platform.sql(
            "SELECT id FROM executions_sandbox WHERE state = 'ready' AND network = 'egress' ORDER BY id DESC"
        )

    (row, *_) = eventually(ready, "a warm sandbox with a door")
    (door,) = (egress.platform.folder / "doors").glob(f"*/{row['id']}/door")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(10)
        sock.connect(str(door))
        with contextlib.suppress(ConnectionError):
            sock.sendall(f"GET http://{ALLOWED}/ HTTP/1.1\r\nHost: {ALLOWED}\r\n\r\n".encode())
            assert sock.recv(100) == b""


# --- Rules and the record ---


def test_a_rule_that_is_removed_stops_the_next_request(egress: World) -> None:
    """Also on a connection that was open before."""
    code = f"""
import http.client, json, time
proxy = http.client.HTTPConnection("127.0.0.1", 3128, timeout=10)
seen = []
until = time.monotonic() + 15
while time.monotonic() < until and seen[-1:] != [403]:
    proxy.request("GET", "http://{OTHER}/", headers={{"Host": "{OTHER}"}})
    answer = proxy.getresponse()
    answer.read()
    seen.append(answer.status)
    time.sleep(0.2)
print(json.dumps([seen[0], seen[-1]]))
"""
    egress.allow(OTHER)

    def remove() -> None:
        told = "SELECT 1 FROM executions_egressrequest WHERE host = %s AND at > %s"
        eventually(lambda: egress.platform.sql(told, OTHER, before), "it has been allowed once")
        egress.refuse(OTHER)

    before = egress.platform.sql("SELECT now() AS at")[0]["at"]
    remover = threading.Thread(target=remove)
    remover.start()
    try:
        assert told(egress.call(code)) == [200, 403]
    finally:
        remover.join()
        egress.refuse(OTHER)


def test_the_record_names_host_port_and_end(egress: World) -> None:
    ran = egress.call(FETCH["python"], argv=[f"http://{ALLOWED}/x?secret=1", f"https://{OTHER}/"])
    first, second = egress.requests_of(ran)
    kept = {name: first[name] for name in ("method", "host", "port", "allowed", "reason", "status", "address")}
    assert kept == {
        "method": "GET", "host": ALLOWED, "port": 80, "allowed": True, "reason": "", "status": 200,
        "address": egress.address,
    }  # fmt: skip
    assert first["bytes_sent"] > 50
    assert first["bytes_received"] > 100
    assert (second["method"], second["host"], second["port"]) == ("CONNECT", OTHER, 443)
    assert (second["allowed"], second["reason"], second["status"]) == (False, "not_allowed", 403)
    assert "secret" not in json.dumps([first, second])


def test_a_connection_is_in_the_trace_of_its_execution(egress: World) -> None:
    ran = egress.call(FETCH["python"], argv=[f"http://{ALLOWED}/x?secret=1"])

    def named(name: str) -> list[Any]:
        def execution_of(span: Any) -> str:
            return "".join(a.value.string_value for a in span.attributes if a.key == "sandbox.execution_id")

        return [s for s in list(egress.receiver.spans) if s.name == name and execution_of(s) == ran["id"]]

    (connection,) = eventually(lambda: named("egress connection"), "the gateway's span")
    (execution,) = eventually(lambda: named("execution"), "the worker's span")
    assert (connection.trace_id, connection.parent_span_id) == (execution.trace_id, execution.parent_span_id)
    assert [attribute.key for attribute in connection.attributes] == ["sandbox.execution_id"]


def test_the_execution_counts_its_requests_and_keeps_the_rules(egress: World) -> None:
    ran = egress.call(FETCH["python"], argv=[f"http://{ALLOWED}/", f"http://{OTHER}/"])
    egress.requests_of(ran)
    row = egress.get(ran["id"])
    counts = {name: row["egress"][name] for name in ("requests", "refused", "cut")}
    assert (row["network"], counts) == ("egress", {"requests": 2, "refused": 1, "cut": 0})
    assert {"domain": ALLOWED, "runtime": None, "client": None} in row["egress_rules"]


def test_a_program_that_sends_too_much_is_cut_and_refused(egress: World) -> None:
    code = f"""
import urllib.error, urllib.request
def post(mib):
    try:
        return urllib.request.urlopen("http://{ALLOWED}/", b"x" * mib * 2**20, timeout=10).status
    except urllib.error.HTTPError as e:
        return e.code
    except OSError:
        return "cut"
print(json.dumps([post(1), post({2 * MOST_MIB}), post(0)]))
"""
    ran = egress.call("import json\n" + code)
    requests = egress.requests_of(ran)
    assert json.loads(ran["stdout"]) == [200, "cut", 403]
    assert [(row["allowed"], row["cut"], row["reason"]) for row in requests] == [
        (True, False, ""), (True, True, ""), (False, False, "bytes"),
    ]  # fmt: skip
    assert requests[1]["bytes_sent"] <= MOST_MIB * 2**20
    counts = egress.get(ran["id"])["egress"]
    assert (counts["cut"], counts["refused"]) == (1, 1)
    assert counts["bytes_sent"] >= 2**20


def test_a_program_in_a_loop_is_stopped(egress: World) -> None:
    code = f"""
import http.client, json
proxy = http.client.HTTPConnection("127.0.0.1", 3128, timeout=10)
for _ in range({MOST + 10}):
    proxy.request("GET", "http://{ALLOWED}/", headers={{"Host": "{ALLOWED}"}})
    answer = proxy.getresponse()
    answer.read()
print(json.dumps(answer.status))
"""
    ran = egress.call(code)
    assert told(ran) == 403
    rows = egress.get(f"{ran['id']}/requests")
    assert (len(rows), rows[-1]["reason"], rows[-2]["allowed"]) == (MOST + 1, "limit", True)


# --- What breaks ---


def test_doors_outlive_their_gateway(egress: World) -> None:
    egress.call("print(1)")
    egress.platform.kill("egress")
    egress.platform.spawn("egress")
    log = egress.platform.folder / "egress.log"
    eventually(lambda: log.read_text().count("doors in") > 1, "the gateway is back")
    assert fetch(egress, "python", f"http://{ALLOWED}/") == [200]


def test_without_a_proxy_a_request_fails_and_the_run_does_not(egress: World) -> None:
    egress.proxy.stop(timeout=5)
    try:
        assert fetch(egress, "python", f"http://{ALLOWED}/") == [503]
    finally:
        egress.proxy.start()
    eventually(lambda: fetch(egress, "python", f"http://{ALLOWED}/") == [200], "the proxy is back")


def test_the_doctor_sees_that_addresses_are_refused(egress: World) -> None:
    assert "refuses loopback.egress.invalid, private.egress.invalid" in egress.platform.manage(
        "shell", "-c", "from sandbox_platform.doctor import service; print(service.egress('egress').detail)"
    )
