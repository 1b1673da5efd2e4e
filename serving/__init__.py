"""Its own process: answers requests from the serving generation and swaps it."""
