"""One file per kind of cases."""
