"""What staff should look at: rewards without value, and unusual patterns of taking and giving points."""
