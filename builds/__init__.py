"""Builds: make and prove a runtime's next image in the background. See docs/builds.md."""
