"""Kafka as a stream: partitions, positions, pauses, and what brokers do on bad days.

The only place that knows Kafka's client.
"""
