"""The screens of the fleet terminal."""
