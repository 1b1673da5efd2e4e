"""How the service's parts start, fail, wait and end. What a part does is not known here."""
