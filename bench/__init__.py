"""`make bench`: drives a running stack over HTTP, and measures the floor in the same run."""
