"""Settings files as they are written for somebody: the schema that editors have, and a short one to begin with."""
