//! The script that Slurm runs, filled in. Pure but for the folder that relative paths are below.

use std::path::{Path, PathBuf, absolute};

use crate::{
    args::{Global, Slurm},
    exit::Error,
};

/// As it stands in the repository; what is filled in goes before this line of it, after its own options: the later ones count.
const TEMPLATE: &str = include_str!("../../../../../deploy/slurm/workers.sbatch");
const BEFORE: &str = "set -euo pipefail\n";

/// What is filled in.
#[derive(Debug)]
pub struct Script {
    /// Holds a join token a node; none without TLS.
    pub join_file: Option<PathBuf>,
    state: String,
    /// Options of sbatch.
    options: Vec<String>,
    /// Variables of the script.
    variables: Vec<(&'static str, String)>,
}

impl Script {
    /// Checks what was given.
    ///
    /// # Errors
    /// With the option that must change.
    pub fn new(global: &Global, args: &Slurm, join_file: Option<PathBuf>) -> Result<Self, Error> {
        let state = word("--state", &path("--state", &args.state)?)?;
        let join_file = join_file.map(absolute).transpose()?;
        let mut script = Self { join_file, state, options: vec![], variables: vec![] };
        script.add_options(args)?;
        script.add_variables(global, args)?;
        Ok(script)
    }

    /// Where Slurm writes the log; `%j` stands for the number of its job.
    pub fn log(&self) -> String {
        format!("{}/kindred-%j.log", self.state)
    }

    /// The whole script.
    pub fn render(&self) -> String {
        let mut filled_in = String::new();
        for option in &self.options {
            filled_in += &format!("#SBATCH {option}\n");
        }
        for (name, value) in &self.variables {
            filled_in += &format!("export {name}={}\n", quoted(value));
        }
        TEMPLATE.replacen(BEFORE, &(filled_in + BEFORE), 1)
    }

    fn add_options(&mut self, args: &Slurm) -> Result<(), Error> {
        let mut options = vec![
            format!("--job-name={}", word("--job-name", &args.job_name)?),
            format!("--nodes={}", args.nodes),
            format!("--signal=TERM@{}", args.notice),
            format!("--output={}", self.log()),
        ];
        options.extend(args.gpus_per_node.map(|n| format!("--gpus-per-node={n}")));
        options.push(match args.cpus_per_node {
            Some(n) => format!("--cpus-per-task={n}"),
            None => "--exclusive".to_owned(),
        });
        if let Some(partition) = &args.partition {
            options.push(format!("--partition={}", word("--partition", partition)?));
        }
        if let Some(time) = &args.time {
            options.push(format!("--time={}", time_limit(time)?));
        }
        if args.no_requeue {
            options.push("--no-requeue".to_owned());
        }
        for option in &args.sbatch {
            if !option.starts_with('-') {
                let why = "is no option of sbatch: write them as --account=vision, after --";
                return Err(Error::invalid(format!("{option:?} {why}")));
            }
            options.push(word("an option of sbatch", option)?);
        }
        self.options = options;
        Ok(())
    }

    fn add_variables(&mut self, global: &Global, args: &Slurm) -> Result<(), Error> {
        let programs = match &args.programs {
            Some(folder) => folder.clone(),
            None => super::own_folder()?,
        };
        let mut variables = vec![
            ("KINDRED_COORDINATOR", global.coordinator.clone()),
            ("KINDRED_STATE", self.state.clone()),
            ("KINDRED_DATA_ROOT", path("--data-root", &args.data_root)?),
            ("KINDRED_PROGRAMS", path("--programs", &programs)?),
            ("KINDRED_REQUEUE", if args.no_requeue { "no" } else { "yes" }.to_owned()),
        ];
        if let Some(file) = &self.join_file {
            variables.push(("KINDRED_JOIN_FILE", path("--state", file)?));
        }
        let optional = [
            ("KINDRED_CHECKPOINT_STORE", args.checkpoint_store.clone()),
            ("KINDRED_CPU_RANKS", args.cpu_ranks.map(|n| n.to_string())),
            ("KINDRED_GRACE", args.grace.clone()),
        ];
        variables.extend(optional.into_iter().filter_map(|(name, value)| Some((name, value?))));
        if !args.until.is_empty() {
            let jobs: Result<Vec<_>, _> = args.until.iter().map(|job| word("--until", job)).collect();
            variables.push(("KINDRED_UNTIL", jobs?.join(" ")));
            variables.extend(self.watching(global)?);
        }
        self.variables = variables;
        Ok(())
    }

    /// What the first node shows the coordinator when it asks whether jobs are over.
    fn watching(&self, global: &Global) -> Result<Vec<(&'static str, String)>, Error> {
        let Some(authority) = &global.credentials.tls_ca else { return Ok(vec![]) };
        let Some(token) = &global.credentials.token_file else {
            let why = "the first node asks the coordinator whether the job is over: give --token-file, a file that the node can \
                       read; a viewer's token is enough";
            return Err(Error::invalid(format!("--until: {why}")));
        };
        let authority = path("--tls-ca", authority)?;
        Ok(vec![("KINDRED_TLS_CA", authority), ("KINDRED_TOKEN_FILE", path("--token-file", token)?)])
    }
}

/// An absolute path as text.
fn path(option: &str, path: &Path) -> Result<String, Error> {
    let path = absolute(path).map_err(|error| Error::invalid(format!("{option}: {error}")))?;
    let text = path.to_str().filter(|text| !text.contains('\n'));
    text.map(str::to_owned)
        .ok_or_else(|| Error::invalid(format!("{option}: {} is no plain path", path.display())))
}

/// Text that stands in an option of sbatch: Slurm splits its lines at white space, and replaces what follows a `%`.
fn word(option: &str, text: &str) -> Result<String, Error> {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "-_./,:=@+*[]()&|".contains(letter);
    if !text.is_empty() && text.chars().all(is_plain) {
        return Ok(text.to_owned());
    }
    let why = "must be one word of letters, digits and plain signs, as Slurm reads it";
    Err(Error::invalid(format!("{option}: {text:?} {why}")))
}

/// Minutes, `[HH:]MM:SS` or `D-HH[:MM[:SS]]`.
fn time_limit(text: &str) -> Result<&str, Error> {
    let (days, rest) = text.split_once('-').unwrap_or(("0", text));
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if is_number(days) && rest.split(':').all(is_number) && rest.split(':').count() <= 3 {
        return Ok(text);
    }
    let why = "is no time of Slurm's: give minutes, hours as 12:00:00, or days as 2-00";
    Err(Error::invalid(format!("--time: {text:?} {why}")))
}

/// A word of the shell, whatever is in it.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Args, Command};

    const FOLDERS: [&str; 4] = ["--state", "/shared/kindred", "--data-root", "/data/it's here"];

    fn script(options: &[&str]) -> Result<Script, String> {
        let line = ["kindred", "slurm"].iter().chain(&FOLDERS).chain(options);
        let Args { global, command } = Args::try_parse_from(line).map_err(|error| error.to_string())?;
        let Command::Slurm(args) = command else { panic!("{command:?}") };
        let join_file = global.credentials.tls_ca.is_some().then(|| "/shared/kindred/join".into());
        Script::new(&global, &args, join_file).map_err(|error| error.to_string())
    }

    #[test]
    fn options_come_before_the_first_command_and_after_the_templates_own() {
        let text =
            script(&["--nodes", "4", "--gpus-per-node", "8", "--partition", "gpu", "--", "--account=vision"])
                .expect("it is right")
                .render();
        assert_eq!(TEMPLATE.matches(BEFORE).count(), 1, "there is one place to fill in");
        let (head, body) = text.split_once(BEFORE).expect("the body is there");
        for option in ["--nodes=4", "--gpus-per-node=8", "--partition=gpu", "--account=vision", "--exclusive"]
        {
            assert!(head.contains(&format!("\n#SBATCH {option}\n")), "{option}: {head}");
        }
        let signals: Vec<&str> = head.lines().filter(|line| line.contains("--signal=")).collect();
        assert_eq!(signals.last(), Some(&"#SBATCH --signal=TERM@120"));
        let after_a_command =
            head.lines().skip_while(|line| line.starts_with('#')).any(|line| line.starts_with("#SBATCH"));
        assert!(!after_a_command, "Slurm reads options up to the first command only: {head}");
        assert!(head.contains(r"export KINDRED_DATA_ROOT='/data/it'\''s here'"), "{head}");
        assert!(body.contains("srun "));
    }

    #[test]
    fn what_slurm_would_not_understand_is_named() {
        for (options, named) in [
            (&["--partition", "a b"][..], "--partition"),
            (&["--time", "soon"], "--time"),
            (&["--time", "1:2:3:4"], "--time"),
            (&["--job-name", ""], "--job-name"),
            (&["--state", "/shared/with space"], "--state"),
            (&["--nodes", "0"], "--nodes"),
            (&["--notice", "5"], "--notice"),
            (&["--until", "job 1"], "--until"),
            (&["--", "vision"], "\"vision\""),
            (&["--", "--comment=a\nb"], "an option of sbatch"),
            (&["--tls-ca", "/ca.pem", "--until", "job-1"], "--token-file"),
        ] {
            let options: Vec<&str> = options.to_vec();
            let error = match options[0] {
                // The folder is given once.
                "--state" => {
                    let line = ["kindred", "slurm", "--data-root", "/data", options[0], options[1]];
                    let Args { global, command } = Args::parse_from(line);
                    let Command::Slurm(args) = command else { panic!("{command:?}") };
                    Script::new(&global, &args, None).expect_err("is refused").to_string()
                }
                _ => script(&options).expect_err("is refused"),
            };
            assert!(error.contains(named), "{options:?}: {error}");
        }
        for time in ["90", "12:00:00", "2-00", "1-12:30"] {
            script(&["--time", time]).expect(time);
        }
    }

    #[test]
    fn with_tls_the_workers_join_and_the_watcher_shows_a_token() {
        let tls = ["--tls-ca", "/ca.pem", "--token-file", "/viewer", "--until", "job-1", "--until", "job-2"];
        let text = script(&tls).expect("it is right").render();
        for line in [
            "KINDRED_JOIN_FILE='/shared/kindred/join'",
            "KINDRED_UNTIL='job-1 job-2'",
            "KINDRED_TLS_CA='/ca.pem'",
            "KINDRED_TOKEN_FILE='/viewer'",
        ] {
            assert!(text.contains(&format!("export {line}\n")), "{line}");
        }
        assert!(!script(&[]).expect("it is right").render().contains("export KINDRED_JOIN_FILE"));
    }
}
