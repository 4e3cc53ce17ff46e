from django.core.exceptions import ValidationError
from django.db import models

from redaction.patterns import PatternError, compile_pattern


def validate_pattern(value: str) -> None:
    try:
        compile_pattern(value)
    except PatternError as e:
        raise ValidationError(str(e)) from e


class RedactionPattern(models.Model):
    """A pattern that secrets match. Applied to executions whose retention policy asks for redaction."""

    name = models.CharField(max_length=100, unique=True)
    regex = models.CharField(
        max_length=1000,
        validators=[validate_pattern],
        help_text="RE2 syntax: matches in linear time, without look-around and back-references.",
    )
    replacement = models.CharField(
        max_length=100, default="[redacted]", help_text="Literal text that replaces each match."
    )
    enabled = models.BooleanField(default=True)

    class Meta:
        db_table = "audit_redactionpattern"
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name
