"""Events come in: recorded once each, and those that the earning rules reward earn points once."""
