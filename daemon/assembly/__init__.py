"""Which parts a service has, by its settings, and what each of them is given. What a part does is decided elsewhere.

Each builder takes what the builders before it returned, as frozen values.
"""
