"""What the service is measured against: the least work that could do the same."""
