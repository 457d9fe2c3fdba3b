"""One file for each way to reduce the visual tokens of a clip; `reduce.REDUCERS` is the table."""
