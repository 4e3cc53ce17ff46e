"""Where a node's images come from: Docker, a registry, or archives on a volume. See SANDBOX_IMAGE_SOURCE."""
