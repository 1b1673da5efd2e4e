"""Grafana's dashboards, built of tables of what they show.

Made by `python -m tests.docs.dashboards` into deploy/grafana/dashboards.
"""
