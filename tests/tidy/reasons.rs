//! The page that says what each reason means.

use kindred_proto::failure::{Kind, Reason};

use crate::sources::sources;

const PAGE: &str = "deploy/operations/reasons.md";

/// The headings of the page, each with the first word of what it says.
fn sections() -> Vec<(String, String)> {
    let page = sources(|path| path == PAGE).remove(0).text;
    let sections = page.split("\n## ").skip(1).map(|section| {
        let (heading, text) = section.split_once('\n').expect("a section says something");
        let letters: String = text.trim_start().chars().take_while(|letter| letter.is_alphabetic()).collect();
        (heading.trim().to_owned(), letters)
    });
    sections.collect()
}

#[test]
fn every_reason_has_its_section_and_no_section_is_left_over() {
    let kind = |reason: &Reason| match reason.kind() {
        Kind::User => "User",
        Kind::Retryable => "Retryable",
        Kind::Bug => "Bug",
    };
    let expected: Vec<_> =
        Reason::ALL.iter().map(|reason| (reason.name().to_owned(), kind(reason).to_owned())).collect();
    assert_eq!(sections(), expected, "{PAGE}: a section per reason, in order, that begins with its kind");
}
