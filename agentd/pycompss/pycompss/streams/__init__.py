"""Not there: streams between tasks. Importing works, using says what to do."""
