"""`make host-test`: a Debian 13 guest with systemd and cgroup v2, in which `make` and what follows are tried."""
