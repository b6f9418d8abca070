"""One module per noun; each function is one page or one form."""
