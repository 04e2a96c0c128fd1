"""How fast, against whom: each figure beside a reference measured in the same run."""
