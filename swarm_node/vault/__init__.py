"""The node's half of the vault: sessions' states captured, sealed, handed over and restored."""
