"""What requests and answers hold: their shapes, how they are read, and the document that shows them."""
