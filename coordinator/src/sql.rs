//! What the journal and the telemetry share: how a failure of a database reads.

use sqlx::{Error, migrate::MigrateError};

/// What the database says of a failure, without sqlx's words around it.
pub(crate) fn explain(error: &Error) -> String {
    if let Error::Migrate(error) = error
        && let MigrateError::VersionMissing(version) = **error
    {
        return format!(
            "a newer version of Kindred wrote it (its tables have migration {version}, which this version does not \
             know): run that version, or a newer one"
        );
    }
    match error.as_database_error() {
        Some(error) => error.message().to_owned(),
        None => error.to_string(),
    }
}
