from pathlib import Path

from scripts.host_test import limits
from scripts.host_test.limits import Look


def test_an_answer_that_ended_by_another_limit_is_wrong():
    judge = limits.ended_by("memory", -137)
    answer = {"status": "resource_limit_exceeded", "resource_limit_type": "memory", "exit_code": -137}
    assert judge(answer) == ""
    assert "time" in judge({**answer, "resource_limit_type": "time"})


def test_threads_are_refused_or_use_up_memory_or_time():
    assert limits.refused_threads({"status": "program_error", "stdout": "126 can't start new thread\n"}) == ""
    assert limits.refused_threads({"status": "resource_limit_exceeded", "resource_limit_type": "time"}) == ""
    assert limits.refused_threads({"status": "program_error", "stdout": "5000 can't start new thread\n"})
    assert limits.refused_threads({"status": "success", "stdout": ""})


def test_more_cpu_than_the_quota_is_wrong():
    idle = [Look(0, 1, 1.0), Look(10, 1, 1.0)]
    assert limits.over_quota([idle, [Look(0, 0, 1.0), Look(10, 10.5, 1.0)]]) == ""
    assert "of a quota of 1.00" in limits.over_quota([idle, [Look(0, 0, 1.0), Look(10, 19, 1.0)]])
    assert "no quota" in limits.over_quota([[Look(0, 0, 0.0), Look(10, 5, 0.0)]])
    assert "no cgroup" in limits.over_quota([[Look(0, 0, 1.0)]])


def test_the_kernels_files_are_read(tmp_path: Path):
    (tmp_path / "cpu.stat").write_text("usage_usec 2500000\nuser_usec 1\n")
    (tmp_path / "cpu.max").write_text("150000 100000\n")
    seen = limits.look(tmp_path)
    assert seen is not None
    assert (seen.used_s, seen.quota) == (2.5, 1.5)
    assert limits.look(tmp_path / "gone") is None
