"""What another ranker would have earned at the explored place, estimated from what was shown there by lot."""
