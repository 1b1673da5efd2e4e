"""Files as streams: read from where the store left off, to the end or to the first damage.

What a record means is decided in `decoding`.
"""
