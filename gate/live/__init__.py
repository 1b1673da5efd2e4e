"""Whether a generation that is watched in traffic may serve: what is compared, how sure that is, and what follows."""
