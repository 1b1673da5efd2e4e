"""What is known of generations in traffic, before they serve."""
