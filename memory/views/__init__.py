"""The store as others use it: each call one transaction. What a call does to the tables is decided below."""
