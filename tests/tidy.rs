//! Keeps the house clean.
