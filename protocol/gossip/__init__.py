"""What is done with gossip: verdicts, duplicates, quotas, reputation."""
