//! TLS, tokens, sign-in, certificates and limits: who is let in, and what becomes of the rest.

mod events;
mod fuzz;
mod joining;
mod limits;
mod login;
mod process;
mod projects;
mod raw;
mod roles;
mod secured;
mod sign_in;
