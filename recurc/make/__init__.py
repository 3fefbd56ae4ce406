"""Makes builds, engines of this computer, and the files for a build's continuous integration."""
