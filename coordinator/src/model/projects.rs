//! The projects that somebody sees.

use std::{collections::BTreeSet, fmt};

use super::access::ALL_PROJECTS;

/// All projects, or some of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Projects {
    /// Whatever there is, and what is of no project.
    #[default]
    All,
    /// These.
    Only(BTreeSet<String>),
}

impl Projects {
    /// Whether this project is one of them.
    pub fn contain(&self, project: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(own) => own.contains(project),
        }
    }

    /// The project, where it is exactly one.
    pub fn single(&self) -> Option<&str> {
        match self {
            Self::Only(own) if own.len() == 1 => own.first().map(String::as_str),
            _ => None,
        }
    }
}

impl<'a> FromIterator<&'a str> for Projects {
    /// [`ALL_PROJECTS`] among them stands for all.
    fn from_iter<T: IntoIterator<Item = &'a str>>(names: T) -> Self {
        let own: BTreeSet<String> = names.into_iter().map(str::to_owned).collect();
        if own.contains(ALL_PROJECTS) { Self::All } else { Self::Only(own) }
    }
}

impl fmt::Display for Projects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all projects"),
            Self::Only(own) => f.write_str(&own.iter().map(String::as_str).collect::<Vec<_>>().join(" and ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_among_them_is_all() {
        let some: Projects = ["vision", "speech", "vision"].into_iter().collect();
        assert_eq!(some.to_string(), "speech and vision");
        assert!(some.contain("vision") && !some.contain("default"));
        assert_eq!(some.single(), None);
        assert_eq!(["vision"].into_iter().collect::<Projects>().single(), Some("vision"));
        let all: Projects = ["vision", "*"].into_iter().collect();
        assert!(all == Projects::All && all.contain("anything"));
    }
}
