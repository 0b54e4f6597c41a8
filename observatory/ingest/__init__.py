"""File changes → bytes → records → one transaction → the Router."""
