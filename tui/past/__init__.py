"""The past: the same fleet view, folded from what the historian wrote down."""
