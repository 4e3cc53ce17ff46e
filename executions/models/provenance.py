"""What a run was made of: the names of these columns, said once."""

# A sandbox has them from its start, and its execution from the sandbox, under the same names.
STARTED_FROM = ("image_id", "runtime_revision", "profile_name", "profile_revision", "profile_sha256")
