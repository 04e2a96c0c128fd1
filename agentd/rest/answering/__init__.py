"""What is answered, as bytes: bodies, forms, and problems."""
