"""`make release`: the images of a version, from a clean clone and with pinned inputs, the same on each build.

Uses only the standard library, like the set-up.
"""
