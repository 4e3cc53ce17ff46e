"""Break every part of a platform while it runs programs, and see what is lost: `make chaos`."""
