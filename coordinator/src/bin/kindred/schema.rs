//! `kindred schema` and `kindred completions`: what editors and shells know of Kindred.

use clap::CommandFactory;
use clap_complete::generate;
use kindred_proto::job_spec;

use crate::{
    args::{Args, Completions},
    exit::{Error, Exit},
    output,
};

/// Prints the JSON Schema of a job's YAML.
pub fn run() -> Result<Exit, Error> {
    let schema = serde_json::to_string_pretty(&job_spec::schema()).expect("names are text");
    output::result(&schema)?;
    Ok(Exit::Succeeded)
}

/// Prints a shell's completions.
pub fn completions(args: &Completions) -> Result<Exit, Error> {
    output::result(&script(args))?;
    Ok(Exit::Succeeded)
}

fn script(args: &Completions) -> String {
    let mut script = vec![];
    generate(args.shell.generator(), &mut Args::command(), "kindred", &mut script);
    String::from_utf8(script).expect("names of options are text")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::shells::ShellName;

    #[test]
    fn every_shell_knows_every_command() {
        for shell in [ShellName::Bash, ShellName::Zsh, ShellName::Fish] {
            let script = script(&Completions { shell });
            for command in Args::command().get_subcommands() {
                assert!(script.contains(command.get_name()), "{shell:?} lacks {}", command.get_name());
            }
        }
    }
}
