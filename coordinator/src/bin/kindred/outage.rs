//! A coordinator that is away while something is followed: wait for it, or for the one that takes its place.

use std::time::Duration;

use tokio::time::{self, Instant};
use tonic::Status;

use crate::{
    client::Client,
    exit::{self, Error},
};

/// How long a coordinator may be away before following ends. The job goes on without either.
const GIVE_UP_AFTER: Duration = Duration::from_secs(600);
const RETRY_EVERY: Duration = Duration::from_secs(1);

/// Since when nobody answers.
#[derive(Default)]
pub struct Outage {
    since: Option<Instant>,
    /// Whether the last call was refused for its token, and made again with a newer one.
    was_refused: bool,
}

impl Outage {
    /// After a call that ended with `status`: waits a moment, and gives the client to try next.
    ///
    /// # Errors
    /// What `status` means where trying again makes no sense, or does not any more.
    pub async fn wait(
        &mut self,
        client: Client,
        status: &Status,
        say: impl FnOnce(&str),
    ) -> Result<Client, Error> {
        // A stream ends with the token that it was opened with.
        if client.has_new_token(status) && !std::mem::replace(&mut self.was_refused, true) {
            return Ok(client);
        }
        let is_new = self.since.is_none();
        let since = *self.since.get_or_insert_with(Instant::now);
        if !exit::is_lost(status) || since.elapsed() > GIVE_UP_AFTER {
            return Err(client.error(status));
        }
        if is_new {
            say(&format!("the coordinator at {} is away; training goes on, reconnecting", client.address));
        }
        time::sleep(RETRY_EVERY).await;
        // Where there are several coordinators, another one may lead now.
        Ok(client.again().await.unwrap_or(client))
    }

    /// Somebody answers.
    pub fn end(&mut self, say: impl FnOnce(&str)) {
        self.was_refused = false;
        if self.since.take().is_some() {
            say("the coordinator is back");
        }
    }
}
