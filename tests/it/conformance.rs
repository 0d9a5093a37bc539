//! One suite that every store must pass and one for every place of a journal, on disk, in memory and on the real parts.

mod journals;
mod stores;
