//! What is wrong with a job spec, field by field.

use std::fmt;

/// Why a spec is refused: every fault that was found, not only the first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpecError {
    /// At least one, in the order in which the checks run.
    pub violations: Vec<Violation>,
}

/// One field that must change.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Violation {
    /// Path of the field below the job spec: `recipe.views[0].crop.size`. Empty: the spec as a whole.
    pub field: String,
    /// What is wrong with it, its bound, and what would do.
    pub message: String,
}

impl Violation {
    /// A violation of `field`.
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.field.as_str() {
            "" => f.write_str(&self.message),
            field => write!(f, "{field}: {}", self.message),
        }
    }
}

impl From<Violation> for SpecError {
    fn from(violation: Violation) -> Self {
        Self { violations: vec![violation] }
    }
}

impl fmt::Display for SpecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, violation) in self.violations.iter().enumerate() {
            let separator = if i == 0 { "" } else { "; " };
            write!(f, "{separator}{violation}")?;
        }
        Ok(())
    }
}

impl std::error::Error for SpecError {}
