"""From a dataset's rows to items: file formats, cells as text, columns for template keys, and ids."""
