"""What is told to OpenTelemetry of requests, swaps and rounds, and how: the daemon tells of its rounds by the same."""
