import pytest

from tests.live import Platform, eventually

pytestmark = pytest.mark.needs_docker
SECRET = "AKIAIOSFODNN7EXAMPLE"
PROGRAM = f"def main():\n    key = '{SECRET}'\n    return [key, len(key)]\n"


def test_keeper_seals_by_itself(platform: Platform) -> None:
    assert eventually(lambda: platform.sql("SELECT hash FROM audit_seal WHERE sequence = 1"), "a seal")


def test_real_run_is_sealed_and_verifies(platform: Platform) -> None:
    platform.run("def main(): return 1")
    head = platform.manage("seal").split()[0]
    pending = platform.sql("SELECT row_id FROM audit_pending")
    assert str(platform.last_execution()["id"]) not in [row["row_id"] for row in pending]
    assert "All rows match" in platform.manage("verify_audit", "--head", head)


def test_program_runs_with_its_original_and_is_stored_redacted(platform: Platform) -> None:
    platform.sql("INSERT INTO audit_retentionpolicy (redact) VALUES (true)")
    try:
        # The workers hear of the policy within ten seconds.
        answer = eventually(lambda: redacted(platform), "a redacted answer")
    finally:
        platform.sql("DELETE FROM audit_retentionpolicy")
    assert answer["status"] == "success"
    stored = platform.last_execution()
    assert stored["result"] == f'["[redacted]", {len(SECRET)}]'
    assert SECRET not in stored["code"]


def redacted(platform: Platform) -> dict[str, object] | None:
    answer = platform.run(PROGRAM)
    return answer if answer["result"]["value"] == ["[redacted]", len(SECRET)] else None
