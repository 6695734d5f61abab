"""Events on their way from sessions to the stream: kept until it has them."""
