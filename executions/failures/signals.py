"""Sent by the keeper after the commit of new groups. Argument: groups, a list of FailureGroup."""

from django.dispatch import Signal

first_seen = Signal()
