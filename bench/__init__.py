"""`make bench`: drive a running stack over HTTP and measure the floor in the same run."""
