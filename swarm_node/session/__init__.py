"""One session's lifetime on a node, from command to engine and back."""
