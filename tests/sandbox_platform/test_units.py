import pytest

from sandbox_platform.units import format_bytes, format_ms


@pytest.mark.parametrize(
    ("value", "words"),
    [(0, "0 bytes"), (1023, "1023 bytes"), (1536, "1.5 KiB"), (256 * 1024**2, "256 MiB"), (3 * 1024**3, "3 GiB")],
)
def test_bytes(value: int, words: str) -> None:
    assert format_bytes(value) == words


@pytest.mark.parametrize(
    ("value", "words"), [(5.26, "5.3 ms"), (1000, "1 s"), (90_000, "1.5 min"), (3_600_000, "1 h")]
)
def test_ms(value: float, words: str) -> None:
    assert format_ms(value) == words
