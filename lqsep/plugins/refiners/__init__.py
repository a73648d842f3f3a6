"""What is done to the stems at the end."""
