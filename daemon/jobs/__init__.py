"""A learner as a Job of Kubernetes: what is asked of the cluster for each run, and what its answers mean.

What a run costs and where it goes says the template that a person wrote; when rounds begin is decided elsewhere.
"""
