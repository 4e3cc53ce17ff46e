"""`python -m sandbox_client.cli` is `sandbox`."""

from sandbox_client.cli import main

main()
