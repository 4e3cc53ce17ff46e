from django.contrib.postgres.fields import ArrayField
from django.db import models


class Event(models.Model):
    """Something that happened and is not added up yet. Triggers insert it, in the transaction of what happened.

    `name`, and what its labels and amounts are: see counting.EVENTS. An amount is null if it is not known.
    """

    name = models.CharField(max_length=20)
    labels = ArrayField(models.TextField())
    amounts = ArrayField(models.FloatField(null=True), default=list)
    times = models.PositiveIntegerField(default=1, db_default=1)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.name} {' '.join(self.labels)}"


class Tally(models.Model):
    """The sum of all events of a counter or histogram with the same labels. It outlives the rows that it counts."""

    metric = models.CharField(max_length=60)
    labels = ArrayField(models.TextField())
    value = models.FloatField(default=0)
    # Of a histogram: number of values up to each bound but above the one before, and of those above the last.
    buckets = ArrayField(models.PositiveBigIntegerField(), default=list)

    class Meta:
        default_permissions = ()
        verbose_name_plural = "tallies"
        constraints = [models.UniqueConstraint(fields=["metric", "labels"], name="metrics_tally_once")]

    def __str__(self) -> str:
        return f"{self.metric} {' '.join(self.labels)}: {self.value:,g}"
