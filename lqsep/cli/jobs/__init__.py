"""Work on several tasks, here or in worker processes."""
