//! Waiting for somebody to sign in with a browser: the polling of the device flow (RFC 8628, section 3.5).

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::provider::{Answer, Tokens};

/// What a provider that is asked too often adds to the pause.
const SLOWER: Duration = Duration::from_secs(5);
/// The longest pause where the provider cannot be reached.
const LONGEST: Duration = Duration::from_secs(60);

/// Asks until somebody has signed in, or the code is over.
///
/// # Errors
/// Why nobody is signed in.
pub async fn poll(
    mut ask: impl AsyncFnMut() -> Answer,
    interval: Duration,
    life: Duration,
) -> Result<Tokens, String> {
    let (began, mut pause) = (Instant::now(), interval);
    loop {
        sleep(pause).await;
        match ask().await {
            Answer::Tokens(tokens) => return Ok(tokens),
            Answer::Pending => {}
            Answer::SlowDown => pause += SLOWER,
            Answer::Refused(why) => return Err(why),
            Answer::Lost(why) if began.elapsed() + pause > life => return Err(why),
            Answer::Lost(_) => pause = (pause * 2).min(LONGEST),
        }
        if began.elapsed() > life {
            return Err("nobody signed in with the code while it was good: try again".to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// When the provider was asked, in seconds, and what came of it.
    async fn asked(answers: Vec<Answer>) -> (Vec<u64>, Result<Tokens, String>) {
        let began = Instant::now();
        let mut times = vec![];
        let mut answers = answers.into_iter();
        let ask = async || {
            times.push(began.elapsed().as_secs());
            answers.next().unwrap_or(Answer::Pending)
        };
        let outcome = poll(ask, Duration::from_secs(5), Duration::from_secs(62)).await;
        (times, outcome)
    }

    #[tokio::test(start_paused = true)]
    async fn a_provider_sets_the_pace() {
        let tokens = Tokens { id_token: "a.b.c".to_owned(), ..Tokens::default() };
        let answers = vec![
            Answer::Pending,
            Answer::SlowDown,
            Answer::Pending,
            Answer::Lost("away".to_owned()),
            Answer::Tokens(tokens.clone()),
        ];
        let (times, outcome) = asked(answers).await;
        assert_eq!(times, [5, 10, 20, 30, 50]);
        assert_eq!(outcome, Ok(tokens));
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_ends_with_a_refusal_or_with_the_code() {
        let (times, outcome) = asked(vec![Answer::Pending, Answer::Refused("no".to_owned())]).await;
        assert_eq!((times, outcome), (vec![5, 10], Err("no".to_owned())));
        let (times, outcome) = asked(vec![]).await;
        assert_eq!(times.last(), Some(&65));
        assert!(outcome.expect_err("nobody came").contains("try again"));
    }
}
