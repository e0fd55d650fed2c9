//! Where in the spec a check stands, and where it puts what it finds.
//!
//! A check never stops at the first fault: it notes the violation, goes on with the default, so that what follows
//! reckons with sane numbers, and the caller refuses the whole at the end. Each value is named by the field that holds it on the wire.

use std::{
    cell::RefCell,
    fmt::Debug,
    ops::{Bound, RangeBounds},
};

use crate::spec_error::{SpecError, Violation};

/// The violations found so far.
#[derive(Default)]
pub(crate) struct Findings(RefCell<Vec<Violation>>);

impl Findings {
    /// `value`, unless something was found.
    pub fn refuse_or<T>(self, value: T) -> Result<T, SpecError> {
        match self.0.into_inner() {
            violations if violations.is_empty() => Ok(value),
            violations => Err(SpecError { violations }),
        }
    }
}

/// One message of the spec, by its path.
pub(crate) struct Scope<'a> {
    path: String,
    findings: &'a Findings,
}

impl<'a> Scope<'a> {
    /// The spec itself.
    pub fn root(findings: &'a Findings) -> Self {
        Self { path: String::new(), findings }
    }

    /// The message in `field`.
    pub fn field(&self, field: &str) -> Self {
        Self { path: self.path_of(field), findings: self.findings }
    }

    /// The message at `idx` of the list in `field`.
    pub fn item(&self, field: &str, idx: usize) -> Self {
        self.field(&format!("{field}[{idx}]"))
    }

    /// Notes that `field` must change.
    pub fn violate(&self, field: &str, message: impl Into<String>) {
        self.findings.0.borrow_mut().push(Violation::new(self.path_of(field), message));
    }

    /// Notes that this message as a whole must change.
    pub fn refuse(&self, message: impl Into<String>) {
        self.violate("", message);
    }

    /// The number that was given for `field`, if it is within `bounds`, or else the default.
    pub fn number<T: Copy + Debug + PartialOrd>(
        &self,
        field: &str,
        given: Option<T>,
        default: T,
        bounds: impl RangeBounds<T>,
    ) -> T {
        given.filter(|&value| self.within(field, value, bounds)).unwrap_or(default)
    }

    /// The number that was given for `field`, if there is one within `bounds`.
    pub fn optional<T: Copy + Debug + PartialOrd>(
        &self,
        field: &str,
        given: Option<T>,
        bounds: impl RangeBounds<T>,
    ) -> Option<T> {
        given.filter(|&value| self.within(field, value, bounds))
    }

    /// Whether `value` is within `bounds`, and a violation where it is not; what is not a number never is.
    pub fn within<T: Copy + Debug + PartialOrd>(
        &self,
        field: &str,
        value: T,
        bounds: impl RangeBounds<T>,
    ) -> bool {
        let is_within = bounds.contains(&value);
        if !is_within {
            self.violate(field, format!("must be {}, not {value:?}", in_words(&bounds)));
        }
        is_within
    }

    /// Notes a violation where the least of a range is above its greatest.
    pub fn ordered<T: Copy + Debug + PartialOrd>(&self, least: (&str, T), most: (&str, T)) {
        if least.1 > most.1 {
            self.violate(least.0, format!("must be at most {} ({:?}), not {:?}", most.0, most.1, least.1));
        }
    }

    /// The value of an enum's number; `None`, with a violation, for one that this version does not know.
    pub fn known<T: TryFrom<i32>>(&self, field: &str, number: i32) -> Option<T> {
        let value = T::try_from(number).ok();
        if value.is_none() {
            self.violate(field, format!("{number} is not a value that this version knows"));
        }
        value
    }

    fn path_of(&self, field: &str) -> String {
        match (self.path.as_str(), field) {
            ("", _) => field.to_owned(),
            (path, "") => path.to_owned(),
            (path, _) => format!("{path}.{field}"),
        }
    }
}

/// Above zero and up to `most`.
pub(crate) fn positive_to(most: f64) -> (Bound<f64>, Bound<f64>) {
    (Bound::Excluded(0.0), Bound::Included(most))
}

fn in_words<T: Debug>(bounds: &impl RangeBounds<T>) -> String {
    let least = match bounds.start_bound() {
        Bound::Included(least) => Some(format!("at least {least:?}")),
        Bound::Excluded(least) => Some(format!("above {least:?}")),
        Bound::Unbounded => None,
    };
    let most = match bounds.end_bound() {
        Bound::Included(most) => Some(format!("at most {most:?}")),
        Bound::Excluded(most) => Some(format!("below {most:?}")),
        Bound::Unbounded => None,
    };
    [least, most].into_iter().flatten().collect::<Vec<_>>().join(" and ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_violation_names_field_value_and_bound() {
        let findings = Findings::default();
        let scope = Scope::root(&findings).field("recipe").item("views", 1).field("crop");
        scope.number("size", Some(4), 32, 8..=1024);
        scope.number("scale_min", Some(f64::NAN), 0.2, positive_to(1.0));
        scope.number("ratio_min", None, 0.75, positive_to(1.0));
        let error = findings.refuse_or(()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "recipe.views[1].crop.size: must be at least 8 and at most 1024, not 4; \
             recipe.views[1].crop.scale_min: must be above 0.0 and at most 1.0, not NaN"
        );
    }
}
