"""Recipes: how what this package ships was made."""
