"""Market-making contract, one subpackage per version."""
