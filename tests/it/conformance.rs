//! What every store and every place of a journal must do, whoever plays it; and that the parts agree on how a service answers.

mod journals;
mod secrets;
mod stores;
