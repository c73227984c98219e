"""A member's rewards, put in order and accounted for like recommendations."""
