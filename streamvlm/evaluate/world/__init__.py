"""A synthetic world in front of a camera, and the truth about it."""
