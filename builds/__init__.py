"""Builds: a runtime's next image, made and proven in the background. See docs/builds.md."""
