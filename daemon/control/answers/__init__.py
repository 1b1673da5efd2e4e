"""What each operation answers, key by key, as dictionaries ready for JSON. How they are shown is the command line's."""
