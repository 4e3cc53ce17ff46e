from django.core.exceptions import ValidationError
from django.db import models

from redaction.patterns import PatternError, compile_pattern


def validate_pattern(value: str) -> None:
    try:
        compile_pattern(value)
    except PatternError as e:
        raise ValidationError(str(e)) from e


class RedactionPattern(models.Model):
    """What a secret looks like. Applied to what is stored, where the client's retention policy says so."""

    name = models.CharField(max_length=100, unique=True)
    regex = models.CharField(
        max_length=1000,
        validators=[validate_pattern],
        help_text="RE2 syntax: linear in time whatever the input, so without look-around and back-references.",
    )
    replacement = models.CharField(
        max_length=100, default="[redacted]", help_text="Put literally where the pattern matched."
    )
    enabled = models.BooleanField(default=True)

    class Meta:
        db_table = "audit_redactionpattern"
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name
