"""The commands of `riverkeep`: each file imports only click at its top, and what it needs when it runs."""
