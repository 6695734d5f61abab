"""What pacing knows of tenants, sessions and recipients, and where it is kept."""
