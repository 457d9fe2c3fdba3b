"""streamvlm: ask live cameras questions about now and about hours ago, at constant memory."""
