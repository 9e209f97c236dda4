//! Lays out all output for people: tables, pages, times and escaped text.

pub(crate) mod difference;
pub(crate) mod escape;
pub(crate) mod output;
pub(crate) mod page;
pub(crate) mod screen;
pub(crate) mod shell;
pub(crate) mod table;
pub(crate) mod time;
