"""Language models: where they come from, how one is loaded, how it scores a text and continues one."""
