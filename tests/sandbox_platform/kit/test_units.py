import pytest

from sandbox_platform.kit.units import exact, exact_of, format_bytes, format_ms, parse


@pytest.mark.parametrize(
    ("value", "words"),
    [(0, "0 bytes"), (1023, "1023 bytes"), (1536, "1.5 KiB"), (256 * 1024**2, "256 MiB"), (3 * 1024**3, "3 GiB")],
)
def test_bytes(value: int, words: str) -> None:
    assert format_bytes(value) == words


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (5.26, "5.3 ms"),
        (1000, "1 s"),
        (59_400, "59.4 s"),
        (60_000, "1 min"),
        (90_000, "1 min 30 s"),
        (3_600_000, "1 h"),
        (5_430_000, "1 h 30 min"),
        (90_000_000, "25 h"),
    ],
)
def test_ms(value: float, words: str) -> None:
    assert format_ms(value) == words


@pytest.mark.parametrize(
    ("value", "unit", "words"),
    [
        (0, "bytes", "0 bytes"),
        (256 * 1024**2, "bytes", "256 MiB"),
        (1536 * 1024**2, "bytes", "1536 MiB"),
        (1025, "bytes", "1025 bytes"),
        (1500, "ms", "1500 ms"),
        (90_000, "ms", "90 s"),
        (3_600_000, "ms", "1 h"),
    ],
)
def test_exact_words_mean_the_same_value_again(value: int, unit: str, words: str) -> None:
    assert exact(value, unit) == words
    assert parse(words, unit) == value


@pytest.mark.parametrize(
    ("text", "unit", "value"),
    [
        ("0.5 GiB", "bytes", 2**29),
        ("512m", "bytes", 2**29),
        ("10", "bytes", 10),
        (" 1.5 s ", "ms", 1500),
        ("2 MIN", "ms", 120_000),
    ],
)
def test_parse(text: str, unit: str, value: int) -> None:
    assert parse(text, unit) == value


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("", "bytes"),
        ("x", "bytes"),
        ("-1", "ms"),
        ("1 MB", "bytes"),
        ("1 KiB", "ms"),
        ("0.1 KiB", "bytes"),
        ("1e3", "ms"),
        ("²", "ms"),
        ("9" * 40, "ms"),
    ],
)
def test_parse_refuses(text: str, unit: str) -> None:
    with pytest.raises(ValueError):
        parse(text, unit)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("memory_bytes", 335544320, "320 MiB"),
        ("wall_time_ms", 10_000, "10 s"),
        ("artifact_count", 10_000, "10000"),
        ("cpus", 1.5, "1.5"),
    ],
)
def test_a_field_s_name_says_its_unit(name: str, value: float, words: str) -> None:
    assert exact_of(name, value) == words
