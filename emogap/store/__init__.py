"""What every stage makes and how: artefacts and pieces, unfinished work, locks, tables and figures, progress."""
