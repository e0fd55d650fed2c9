//! Options of `kindred nodes`.

use clap::{Args as ClapArgs, Subcommand};

use super::access::{Expel, JoinToken};

/// `kindred nodes`.
#[derive(Debug, ClapArgs)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Nodes {
    /// Only nodes of which this holds, such as 'state = ready AND labels.rack = a'
    #[arg(long, value_name = "TERMS", default_value = "", hide_default_value = true)]
    pub filter: String,
    /// What to do with one of them.
    #[command(subcommand)]
    pub action: Option<NodeAction>,
}

/// What to do with a node.
#[derive(Debug, Subcommand)]
pub enum NodeAction {
    /// Give a node no new ranks; those that it has go on
    Cordon(Cordon),
    /// Give a node ranks again; ends a drain and a quarantine too
    Uncordon(NodeArg),
    /// Cordon a node, and let its jobs write a checkpoint and go on elsewhere
    Drain(Cordon),
    /// Print a text with which one worker joins: `kindred-worker --join TEXT`
    JoinToken(JoinToken),
    /// Refuse a node's certificate from now on
    Expel(Expel),
}

/// The node that a command is about.
#[derive(Debug, ClapArgs)]
pub struct NodeArg {
    /// The node's id or name, as `kindred nodes` prints it
    pub node: String,
}

/// `kindred nodes cordon` and `drain`.
#[derive(Debug, ClapArgs)]
pub struct Cordon {
    /// The node.
    #[command(flatten)]
    pub of: NodeArg,
    /// Why; shown with the node, and with jobs that wait for it
    #[arg(long, default_value = "")]
    pub reason: String,
}
