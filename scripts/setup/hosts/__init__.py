"""Hosts that share one database: the first one invites, others join. docs/hosts.md describes both."""
