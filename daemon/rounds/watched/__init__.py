"""A generation that is watched in traffic: what was observed of it is gathered, judged and carried out."""
