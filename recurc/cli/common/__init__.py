"""What several commands share: options, output, the project file, tables, signals."""
