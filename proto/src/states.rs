//! Small questions that every program asks about states, and what people call them.

use crate::v1::{DeviceKind, JobState, LogLevel, NodeState, RankState};

impl JobState {
    /// Every state that a job can be in, in the order of its life.
    pub const ALL: [Self; 10] = [
        Self::Pending,
        Self::Starting,
        Self::Running,
        Self::Recovering,
        Self::Suspending,
        Self::Suspended,
        Self::Cancelling,
        Self::Succeeded,
        Self::Failed,
        Self::Cancelled,
    ];

    /// Whether the job will never change again.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }
}

impl RankState {
    /// Whether the rank is gone for good.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Finished | Self::Failed | Self::Stopped)
    }
}

macro_rules! labels {
    ($($name:ident: $prefix:literal;)*) => {$(
        impl $name {
            /// What people call it: the wire's name, lower-case and without its prefix.
            pub fn label(self) -> String {
                let full = self.as_str_name();
                full.strip_prefix($prefix).unwrap_or(full).to_lowercase()
            }
        }
    )*};
}

labels! {
    DeviceKind: "DEVICE_KIND_";
    JobState: "JOB_STATE_";
    LogLevel: "LOG_LEVEL_";
    NodeState: "NODE_STATE_";
    RankState: "RANK_STATE_";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_short_and_lower_case() {
        assert_eq!(JobState::Running.label(), "running");
        assert_eq!(DeviceKind::Cuda.label(), "cuda");
        assert_eq!(LogLevel::Warn.label(), "warn");
    }
}
