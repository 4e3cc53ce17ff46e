"""The builder without Docker: buildah unpacks, commits and pushes images; what is in them runs in gVisor only."""
