"""Reports: a leaderboard's tables as terminal output, Markdown, CSV, JSON and HTML."""
