"""One strategy on one video file: what it keeps, what that takes, and what it looks like."""
