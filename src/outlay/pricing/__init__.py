"""What a call may cost (the Estimate), and what it did cost (Usage × Price → Cost)."""
