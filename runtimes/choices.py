"""What a runtime's settings choose between."""

from django.db import models


class CodePolicy(models.TextChoices):
    OFF = "off", "Off"
    WARN = "warn", "Warn: run it, and record what the rules say"
    BLOCK = "block", "Block: refuse to run it"


class Network(models.TextChoices):
    NONE = "none", "None: no way out"
    EGRESS = "egress", "Egress: HTTP and HTTPS to hosts on the allow-list, through the proxy"


class Runner(models.TextChoices):
    NATIVE = "native", "Native: a worker in the image, which becomes the program"
    UNIVERSAL = "universal", "Universal: the commands below, run by the runner"
    SHELL = "shell", "None in the image: the run command, run by its /bin/sh; mode script only"


class OutputAction(models.TextChoices):
    CUT = "cut", "Cut the output and let the run go on"
    KILL = "kill", "End the run"
