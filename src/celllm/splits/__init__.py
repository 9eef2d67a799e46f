"""Who is tested, drawn before anything is trained."""
