"""What the inbox has received, kept in memory or in a file."""
