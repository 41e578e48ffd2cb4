"""Other mechanisms behind power laws, one file each; every one says when it applies."""
