"""What becomes of candidates that could not be proven for want of evidence: how long they are kept, and why they go."""
