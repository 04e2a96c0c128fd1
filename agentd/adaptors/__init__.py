"""Ways to reach a neighbour, each a plug-in; what is supported and what is not is known before anything is dialled."""
