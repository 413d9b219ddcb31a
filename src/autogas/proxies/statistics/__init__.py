"""From features to numbers: sufficient statistics, their bank on disk, and the scores of many expressions."""
