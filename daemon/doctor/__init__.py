"""What would fail on this machine, and what fits, found by trying. Nothing of the service is changed."""
