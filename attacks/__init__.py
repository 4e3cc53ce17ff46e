"""Hostile programs against a platform, judged by what its host sees: `make attack` (docs/reliability.md)."""
