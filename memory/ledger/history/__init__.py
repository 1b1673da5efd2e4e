"""What was watched in traffic, what served when, and who did what."""
