"""Table rows that the terminal shows, made from the feed."""
