"""Generated from `proto/streamvlm/v1` by `make proto`; never edited."""
