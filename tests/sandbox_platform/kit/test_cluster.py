from multiprocessing import Process, Queue
from queue import Empty

import pytest

from sandbox_platform.kit.cluster import HandOver


@pytest.fixture
def tasks() -> HandOver:
    return HandOver(Queue(maxsize=1))


def worker(tasks: HandOver, results: "Queue[str]") -> None:
    for task in iter(tasks.get, "STOP"):
        results.put(task)


def test_no_worker_no_reservation(tasks: HandOver) -> None:
    assert not tasks.reserve(0)


def test_each_waiting_worker_is_reserved_once(tasks: HandOver) -> None:
    results: Queue[str] = Queue()
    workers = [Process(target=worker, args=(tasks, results), daemon=True) for _ in range(2)]
    for process in workers:
        process.start()
    assert [tasks.reserve(60), tasks.reserve(60), tasks.reserve(0.2)] == [True, True, False]
    for process in workers:
        process.kill()
        process.join()


def test_worker_asks_again_only_after_its_task(tasks: HandOver) -> None:
    results: Queue[str] = Queue()
    process = Process(target=worker, args=(tasks, results), daemon=True)
    process.start()
    for task in ("1", "2", "3"):
        assert tasks.reserve(60)
        tasks.put(task)
        assert results.get(timeout=60) == task
    tasks.put("STOP")
    process.join(60)
    assert process.exitcode == 0
    with pytest.raises(Empty):
        results.get(timeout=0.1)


def test_dead_pushers_reservation_is_given_back(tasks: HandOver) -> None:
    tasks.give_back()
    assert tasks.reserve(0)
    tasks.pusher_died()
    assert tasks.reserve(0)


def test_dead_pusher_without_a_reservation_gives_nothing_back(tasks: HandOver) -> None:
    tasks.give_back()
    assert tasks.reserve(0)
    tasks.put("1")
    tasks.pusher_died()
    assert not tasks.reserve(0)
