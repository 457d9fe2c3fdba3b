"""How good, how fast, how robust: a test camera, measurements, the demo. No service needs it."""
