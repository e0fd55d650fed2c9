//! The dashboard in a real headless Chromium, of a real cluster whose ranks train.
//!
//! Each test starts a coordinator, workers and a browser of its own. Chromium and its driver are no part of `make setup`: where they are
//! missing `make test` says so and leaves these tests out, and `make test-full` fails (`KINDRED_REQUIRE_BROWSER`). With
//! `KINDRED_SCREENSHOTS=FOLDER` the pages are kept as pictures.

mod driver;
mod pages;
mod signing_in;
