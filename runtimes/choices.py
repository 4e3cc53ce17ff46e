"""The choices of a runtime's fields."""

from django.db import models


class CodePolicy(models.TextChoices):
    OFF = "off", "Off"
    WARN = "warn", "Warn: run the program, and record the violations"
    BLOCK = "block", "Block: reject the program"


class Network(models.TextChoices):
    NONE = "none", "No network"
    EGRESS = "egress", "Egress: HTTP and HTTPS to hosts on the allow-list, through the proxy"


class Runner(models.TextChoices):
    NATIVE = "native", "Native: the image's own worker runs the program"
    UNIVERSAL = "universal", "Universal: the runner runs the commands below"
    SHELL = "shell", "Shell: no runner in the image; its /bin/sh runs the run command (mode script only)"


class OutputAction(models.TextChoices):
    CUT = "cut", "Truncate the output, and let the run continue"
    KILL = "kill", "End the run"
