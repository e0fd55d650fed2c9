//! What the journal and the telemetry share: how a failure of SQLite reads.

/// What SQLite says of a failure, without sqlx's words around it.
pub(crate) fn explain(error: &sqlx::Error) -> String {
    match error.as_database_error() {
        Some(error) => error.message().to_owned(),
        None => error.to_string(),
    }
}
