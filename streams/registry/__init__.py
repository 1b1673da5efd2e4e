"""Values behind a schema registry's bytes, by JSON, Avro or Protobuf; the registry is waited for while it is away.

Which field means what is decided in `decoding`.
"""
