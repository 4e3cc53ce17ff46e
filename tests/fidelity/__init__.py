"""Programs that run plainly and through the platform, and must end alike: see docs/fidelity.md."""
