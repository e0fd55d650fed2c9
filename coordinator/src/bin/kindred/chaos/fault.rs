//! One fault: what is done, and to which process.

use std::{fmt, time::Duration};

use rustix::{io::Errno, process::Signal};
use tokio::{
    task::JoinSet,
    time::{self, Instant},
};

use super::processes::{Process, Role};
use crate::{
    args::Scenario,
    exit::{Error, Exit},
};

/// How long a slow rank runs, and is held, in turns.
const TURN: Duration = Duration::from_millis(100);

/// What is done to a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What is done.
    pub scenario: Scenario,
    /// To whom.
    pub target: Process,
}

impl Scenario {
    /// As on the command line.
    pub fn label(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Hang => "hang",
            Self::Partition => "partition",
            Self::Slow => "slow",
            Self::Coordinator => "coordinator",
        }
    }

    fn fits(self, role: Role) -> bool {
        match self {
            Self::Kill => matches!(role, Role::Rank | Role::Worker),
            Self::Hang | Self::Slow => role == Role::Rank,
            Self::Partition => role == Role::Worker,
            Self::Coordinator => role == Role::Coordinator,
        }
    }
}

impl Fault {
    /// One of `scenarios` and one of the processes that it fits; none when there is no such process.
    pub fn choose(scenarios: &[Scenario], processes: &[Process], random: &mut fastrand::Rng) -> Option<Self> {
        let possible = |scenario: &&Scenario| processes.iter().any(|process| scenario.fits(process.role));
        let scenarios: Vec<&Scenario> = scenarios.iter().filter(possible).collect();
        let scenario = **random.choice(&scenarios)?;
        let fitting: Vec<&Process> = processes.iter().filter(|process| scenario.fits(process.role)).collect();
        let target = (*random.choice(&fitting)?).clone();
        Some(Self { scenario, target })
    }

    /// Does it. What is held goes on after `hold`, or when `holds` is shut down.
    ///
    /// # Errors
    /// When the process may not be signalled; one that is gone by now is as good as killed.
    pub fn inject(&self, hold: Duration, holds: &mut JoinSet<()>) -> Result<(), Error> {
        match self.scenario {
            Scenario::Kill | Scenario::Coordinator => return self.signal(Signal::KILL),
            Scenario::Hang | Scenario::Partition => {
                self.signal(Signal::STOP)?;
                let held = Held(self.target.clone());
                holds.spawn(async move {
                    time::sleep(hold).await;
                    drop(held);
                });
            }
            Scenario::Slow => {
                self.signal(Signal::STOP)?;
                let held = Held(self.target.clone());
                holds.spawn(async move {
                    let until = Instant::now() + hold;
                    while Instant::now() < until {
                        time::sleep(TURN).await;
                        held.0.signal(Signal::CONT).ok();
                        time::sleep(TURN).await;
                        held.0.signal(Signal::STOP).ok();
                    }
                });
            }
        }
        Ok(())
    }

    fn signal(&self, signal: Signal) -> Result<(), Error> {
        match self.target.signal(signal) {
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(error) => Err(Error::new(Exit::Other, format!("cannot signal {}: {error}", self.target))),
        }
    }
}

/// A process that goes on when this is dropped.
struct Held(Process);

impl Drop for Held {
    fn drop(&mut self) {
        // One that was killed meanwhile needs nothing.
        let _ = self.0.signal(Signal::CONT);
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.scenario {
            Scenario::Kill | Scenario::Coordinator => "kills",
            Scenario::Hang => "holds, as a hang would,",
            Scenario::Partition => "holds, so that nobody hears of its ranks,",
            Scenario::Slow => "slows down",
        };
        write!(f, "{what} {}", self.target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(role: Role, number: i32) -> Process {
        Process::example(role, number)
    }

    #[test]
    fn the_same_seed_meets_the_same_processes_and_scenarios_meet_only_theirs() {
        let processes = [
            process(Role::Coordinator, 1),
            process(Role::Worker, 2),
            process(Role::Rank, 3),
            process(Role::Rank, 4),
        ];
        let all =
            [Scenario::Kill, Scenario::Hang, Scenario::Partition, Scenario::Slow, Scenario::Coordinator];
        let choose = |seed| {
            let mut random = fastrand::Rng::with_seed(seed);
            (0..50).filter_map(|_| Fault::choose(&all, &processes, &mut random)).collect::<Vec<_>>()
        };
        let faults = choose(7);
        assert_eq!(faults, choose(7));
        assert_ne!(faults, choose(8));
        assert!(faults.iter().all(|fault| fault.scenario.fits(fault.target.role)));
        assert!(all.iter().all(|scenario| faults.iter().any(|fault| fault.scenario == *scenario)));
        let mut random = fastrand::Rng::with_seed(7);
        assert_eq!(Fault::choose(&[Scenario::Partition], &processes[2..], &mut random), None);
    }
}
