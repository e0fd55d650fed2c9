//! `kindred logs`: what a job's ranks said.

use kindred_proto::v1;
use tonic::Status;

use crate::{
    args::{Format, Global, Level, Logs},
    client::Client,
    exit::{Error, Exit},
    outage::Outage,
    output, text,
};

/// Prints lines as they come; as one JSON object per line with `-o json`. While they are followed, a link that is lost is made anew.
pub async fn run(global: &Global, args: Logs) -> Result<Exit, Error> {
    let mut client = Client::connect(global).await?;
    let mut request = v1::ReadLogsRequest {
        job_id: args.job,
        follow: args.follow,
        tail: args.tail,
        min_level: v1::LogLevel::from(args.level).into(),
        after_line: 0,
    };
    let mut outage = Outage::default();
    loop {
        let status = match one_stream(&client, global.output, &mut request, &mut outage).await? {
            Ok(()) => return Ok(Exit::Succeeded),
            Err(status) if !args.follow => return Err(client.error(&status)),
            Err(status) => status,
        };
        client = outage.wait(client, &status, output::note).await?;
    }
}

/// Prints one stream; gives the status that broke it, after which `request` asks for what is left.
async fn one_stream(
    client: &Client,
    format: Format,
    request: &mut v1::ReadLogsRequest,
    outage: &mut Outage,
) -> std::io::Result<Result<(), Status>> {
    let mut batches = match client.call(client.jobs().read_logs(request.clone())).await {
        Ok(batches) => batches,
        Err(status) => return Ok(Err(status)),
    };
    outage.end(output::note);
    loop {
        let batch = match batches.message().await {
            Ok(Some(batch)) => batch,
            Ok(None) => return Ok(Ok(())),
            Err(status) => return Ok(Err(status)),
        };
        for line in &batch.lines {
            print(format, line)?;
        }
        request.after_line = request.after_line.max(batch.last_line);
    }
}

fn print(format: Format, line: &v1::LogLine) -> std::io::Result<()> {
    match format {
        Format::Table => output::result(&text_of(line)),
        Format::Json => output::result(&output::value(line, "LogLine").to_string()),
        Format::Yaml | Format::Csv => {
            output::document(format, &serde_json::Value::Array(vec![output::value(line, "LogLine")]))
        }
    }
}

/// `2026-01-02T03:04:05.678Z  warn  g1 r0  message  name=value`.
fn text_of(line: &v1::LogLine) -> String {
    let rank = line.rank.map_or_else(|| "--".to_owned(), |rank| format!("r{rank}"));
    let (time, level) = (text::time(line.time_unix_ms), line.level().label());
    let mut fields: Vec<String> =
        line.fields.iter().map(|(name, value)| format!("  {name}={value}")).collect();
    fields.sort_unstable();
    format!("{time}  {level:<5}  g{} {rank}  {}{}", line.generation, line.message, fields.concat())
}

impl From<Level> for v1::LogLevel {
    fn from(level: Level) -> Self {
        match level {
            Level::Debug => Self::Debug,
            Level::Info => Self::Info,
            Level::Warn => Self::Warn,
            Level::Error => Self::Error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_shows_who_said_what() {
        let line = v1::LogLine {
            time_unix_ms: 1_700_000_000_123,
            level: v1::LogLevel::Warn.into(),
            generation: 2,
            rank: Some(1),
            message: "checkpoint skipped".into(),
            fields: [("step".to_owned(), "40".to_owned()), ("path".to_owned(), "a/b".to_owned())].into(),
            ..Default::default()
        };
        let expected = "2023-11-14T22:13:20.123Z  warn   g2 r1  checkpoint skipped  path=a/b  step=40";
        assert_eq!(text_of(&line), expected);
    }
}
