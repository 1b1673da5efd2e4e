"""Rounds as Jobs of Kubernetes: what is set of them, and the Job that a person wrote. No cluster is asked here."""
