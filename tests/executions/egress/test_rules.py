import pytest
from django.core.exceptions import ValidationError

from executions.egress.models import EgressRule


@pytest.mark.parametrize(
    ("typed", "stored"),
    [
        ("Example.COM", "example.com"),
        (" example.com. ", "example.com"),
        (".Example.com", ".example.com"),
        ("bücher.example", "xn--bcher-kva.example"),
        (".bücher.example", ".xn--bcher-kva.example"),
    ],
)
def test_domain_is_stored_in_one_spelling(db: None, typed: str, stored: str) -> None:
    rule = EgressRule(domain=typed)
    rule.full_clean()
    assert rule.domain == stored


@pytest.mark.parametrize(
    "domain",
    [
        "", ".", "..", "com", ".com", "localhost", "*.example.com", "http://example.com", "example.com/x",
        "example.com:443", "a b.com", "1.2.3.4", "2130706433", "::1", "[::1]", "0x7f.0x1", "-a.com", "a..com",
        "a" * 64 + ".com", "a\n.com",
        "x" * 250 + ".com", "a@example.com",
    ],
)  # fmt: skip
def test_domain_that_is_none_is_refused(db: None, domain: str) -> None:
    with pytest.raises(ValidationError) as refused:
        EgressRule(domain=domain).full_clean()
    assert set(refused.value.message_dict) == {"domain"}


def test_a_rule_is_there_once(db: None) -> None:
    EgressRule.objects.create(domain="example.com")
    with pytest.raises(ValidationError, match="already exists"):
        EgressRule(domain="EXAMPLE.com").full_clean()
