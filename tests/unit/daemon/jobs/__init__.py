"""Tests of `daemon.jobs`."""
