//! `kindred completions`.

use clap::{Args as ClapArgs, ValueEnum};
use clap_complete::Shell;

/// `kindred completions`.
#[derive(Debug, ClapArgs)]
pub struct Completions {
    /// Whose
    #[arg(value_enum)]
    pub shell: ShellName,
}

/// The shells that are tested.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum ShellName {
    /// source <(kindred completions bash)
    Bash,
    /// kindred completions zsh > ~/.zfunc/_kindred
    Zsh,
    /// kindred completions fish > ~/.config/fish/completions/kindred.fish
    Fish,
}

impl ShellName {
    /// What writes its script.
    pub fn generator(self) -> Shell {
        match self {
            Self::Bash => Shell::Bash,
            Self::Zsh => Shell::Zsh,
            Self::Fish => Shell::Fish,
        }
    }
}
