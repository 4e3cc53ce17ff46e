"""Names of the provenance columns."""

# Set on a sandbox at its start, and copied to the execution that claims it, under the same names.
STARTED_FROM = ("image_id", "runtime_revision", "profile_name", "profile_revision", "profile_sha256")
# Copied in the same way. They describe where and how the sandbox was started, which a pinned rerun does not repeat.
STARTED_BY = ("node", "runsc_version", "engine")
