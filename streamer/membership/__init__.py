"""How people come in by themselves, and back in: invitations, sign-up, letters, confirmed addresses, new passwords."""
