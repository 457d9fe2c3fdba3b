"""The gRPC messages, and what they mean in `types`. Messages travel, `types` are worked with.

`v1/` is generated from `proto/` by `make proto` and never edited. The other modules convert in
pairs, `x_to_proto` and `x_from_proto`, each the inverse of the other; times keep nanoseconds. What
comes from the wire may be wrong: `x_from_proto` raises InvalidInputError then. What is only new is
not wrong: an old client reads a value that it does not know as UNKNOWN.
"""
