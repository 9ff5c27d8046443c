//! The window in single situations; two flows together are in `fairness`.
