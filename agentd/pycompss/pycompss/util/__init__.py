"""What programs import of PyCOMPSs' inside: its exceptions, and where they run."""
