"""Who may ask, and how much: the keys of a file, what each of them may take, and what it has taken."""
