"""A round as processes: how many, how each is started, watched and ended, and what becomes of an error."""
