//! A rank's work, from its order to its last word.

use kindred_ipc::{FromRank, Start, Wire};
use kindred_proto::{failure::Failure, job_spec::AnySpec, v1::JobResult};

use super::{Error, error, evaluating, link::Link, run};

/// How a rank's work ends when nothing goes wrong.
pub enum Ending {
    /// All is done; the first rank's result is the job's.
    Finished(JobResult),
    /// It was asked to stop.
    Stopped,
}

/// Does what the agent ordered, and returns the last thing to say to it.
pub fn serve(link: &Link, start: Start) -> FromRank {
    let (node_id, rank) = (start.node_id.clone(), start.rank);
    match error::catch(|| work(link, start)) {
        Ok(Ending::Finished(result)) => FromRank::Finished(Wire(result)),
        Ok(Ending::Stopped) => FromRank::Stopped,
        // The whole generation was asked to stop, and some ranks were faster.
        Err(error) if link.stop().is_some() && error.is_about_peers() => FromRank::Stopped,
        Err(error) => FromRank::Failed(Wire((&Failure::from(&error).met_by(node_id, rank)).into())),
    }
}

fn work(link: &Link, start: Start) -> Result<Ending, Error> {
    check_version(&start)?;
    match AnySpec::check(&start.spec.0)? {
        AnySpec::Train(spec) => run::run(link, start, *spec),
        AnySpec::Evaluate(spec) => evaluating::run(link, &start, &spec),
    }
}

fn check_version(start: &Start) -> Result<(), Error> {
    let rank = env!("CARGO_PKG_VERSION");
    if start.version == rank { Ok(()) } else { Err(Error::Version { agent: start.version.clone(), rank }) }
}
