"""People and the ways in: users, roles, logins and API keys."""
