from django.conf import settings
from django.db import models


class DoctorReport(models.Model):
    """The doctor's last report on one node. A worker writes it: the web process has no access to Docker."""

    node = models.CharField(max_length=100, primary_key=True)
    asked_at = models.DateTimeField(null=True)
    asked_by = models.CharField(max_length=150, blank=True)
    finished_at = models.DateTimeField(null=True)
    checks = models.JSONField(default=list)

    def __str__(self) -> str:
        return self.node


class JobRun(models.Model):
    """The last run of a scheduled job on one node. The keeper writes it."""

    node = models.CharField(max_length=100)
    job = models.CharField(max_length=100)
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)
    # The class of the exception; its text may hold what no page should.
    error = models.CharField(max_length=100, blank=True)

    class Meta:
        default_permissions = ()
        constraints = [models.UniqueConstraint(fields=["node", "job"], name="job_run_once")]

    def __str__(self) -> str:
        return f"{self.job} on {self.node}"


class FirstStep(models.Model):
    """One of the first steps that was done (`person` empty), or that a person hides them (`name` HIDDEN).

    Executions that show a step done may be purged. The row stays.
    """

    HIDDEN = "hidden"

    name = models.CharField(max_length=10)
    person = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, null=True, related_name="+")
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(fields=["name", "person"], nulls_distinct=False, name="first_step_once"),
        ]

    def __str__(self) -> str:
        return f"{self.name} {self.person or ''}".rstrip()
