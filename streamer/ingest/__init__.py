"""How films come in: uploads, and the job that turns a source into a version."""
