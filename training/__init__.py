"""The recipe that made mini; `README.md` says how to run it."""
