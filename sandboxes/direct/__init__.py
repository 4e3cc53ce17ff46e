"""The direct engine: starts gVisor without Docker. See docs/architecture.md, "Engines"."""
