"""Text arriving: Kafka and files become documents; decoding, filters, dead letters."""
