//! `kindred events`: what became of jobs and nodes, as it is now and as it goes on.

use std::time::Duration;

use kindred_proto::v1;
use tokio::{signal, time};
use tonic::Status;

use crate::{
    args::{Events, Format, Global},
    client::Client,
    exit::{Error, Exit},
    outage::Outage,
    output, tokens,
};

/// The coordinator says every 15 s that nothing happens, so a longer silence is a lost link.
const SILENCE: Duration = Duration::from_secs(45);

/// Prints events, or with `--audit` who did what.
pub async fn run(global: &Global, args: Events) -> Result<Exit, Error> {
    if args.audit {
        return tokens::events(global, args).await;
    }
    let client = Client::connect(global).await?;
    let (events, marker) = list(&client, &args).await?;
    if !args.follow {
        match global.output {
            Format::Table if events.is_empty() => output::note("there are no events"),
            Format::Table => output::result(&events.iter().map(line).collect::<Vec<_>>().join("\n"))?,
            format => output::list(format, &events, "Event", || unreachable!("no table is asked for"))?,
        }
        return Ok(Exit::Succeeded);
    }
    say(global.output, &events)?;
    tokio::select! {
        ended = follow(global.output, client, &args, marker) => ended,
        _ = signal::ctrl_c() => Ok(Exit::Interrupted),
    }
}

/// The last events, or those after a number, and the marker after them.
async fn list(client: &Client, args: &Events) -> Result<(Vec<v1::Event>, u64), Error> {
    let mut request = v1::ListEventsRequest {
        job_id: args.job.clone().unwrap_or_default(),
        node_id: args.node.clone().unwrap_or_default(),
        after_number: args.after.unwrap_or(0),
        tail: if args.after.is_some() { 0 } else { u32::try_from(args.limit).unwrap_or(u32::MAX) },
        ..Default::default()
    };
    let mut events = vec![];
    loop {
        let page = client.answer(client.events().list_events(request.clone())).await?;
        events.extend(page.events);
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            return Ok((events, page.resume_marker));
        }
    }
}

/// Goes on after each loss of the coordinator where it was.
async fn follow(format: Format, mut client: Client, args: &Events, mut marker: u64) -> Result<Exit, Error> {
    let mut outage = Outage::default();
    loop {
        let status = match one_stream(&client, args, &mut marker, format, &mut outage).await {
            Err(Ended::Output(error)) => return Err(error),
            Err(Ended::Lost(status)) => status,
        };
        client = outage.wait(client, &status, output::note).await?;
    }
}

/// Why a stream is over.
enum Ended {
    Lost(Status),
    Output(Error),
}

async fn one_stream(
    client: &Client,
    args: &Events,
    marker: &mut u64,
    format: Format,
    outage: &mut Outage,
) -> Result<std::convert::Infallible, Ended> {
    let request = v1::WatchEventsRequest {
        job_id: args.job.clone().unwrap_or_default(),
        node_id: args.node.clone().unwrap_or_default(),
        after_number: Some(*marker),
    };
    let answer = client.events().watch_events(request).await.map_err(Ended::Lost)?;
    let mut batches = answer.into_inner();
    loop {
        let silent = |_| Ended::Lost(Status::unavailable("nothing heard for too long"));
        let ended = || Ended::Lost(Status::unavailable("the stream ended"));
        let batch = time::timeout(SILENCE, batches.message()).await.map_err(silent)?;
        let batch = batch.map_err(Ended::Lost)?.ok_or_else(ended)?;
        outage.end(output::note);
        say(format, &batch.events).map_err(Ended::Output)?;
        *marker = batch.resume_marker;
    }
}

/// A line for each; as JSON, too.
fn say(format: Format, events: &[v1::Event]) -> Result<(), Error> {
    for event in events {
        match format {
            Format::Table => output::result(&line(event))?,
            Format::Json => output::result(&output::value(event, "Event").to_string())?,
            Format::Yaml | Format::Csv => {
                output::document(format, &serde_json::json!([output::value(event, "Event")]))?
            }
        }
    }
    Ok(())
}

/// Number, time, what it is about, what happened, and who wished for it.
fn line(event: &v1::Event) -> String {
    let time = event.time.as_ref().map(ToString::to_string).unwrap_or_default();
    let about = if event.job_id.is_empty() { &event.node_id } else { &event.job_id };
    let caller = if event.caller.is_empty() { String::new() } else { format!("  ({})", event.caller) };
    format!("{:>8}  {time}  {about:<10}  {}{caller}", event.number, event.message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_happened_to_what() {
        let event = v1::Event {
            number: 7,
            time: Some(prost_types::Timestamp { seconds: 1_700_000_000, nanos: 0 }),
            job_id: "job-1".into(),
            message: "suspended by request: lunch".into(),
            caller: "token ci (ab)".into(),
            ..Default::default()
        };
        let expected =
            "       7  2023-11-14T22:13:20Z  job-1       suspended by request: lunch  (token ci (ab))";
        assert_eq!(line(&event), expected);
    }
}
