//! Pages about layers, losses, keys …, made from the lists that parse.
