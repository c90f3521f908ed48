"""Where objects go: each sink stores an object or raises."""
