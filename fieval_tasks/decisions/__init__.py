"""What verdicts say, and what they leave open."""
