"""The service around the library: gRPC in, engine calls out. No thresholds, no tensors."""
