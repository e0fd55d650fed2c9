//! The token of the first admin, with which all others are made.

use super::Error;
use crate::{
    access::{Security, authority::write_private, secret::Secret},
    engine::Handle,
    model::access::{ALL_PROJECTS, AccessEvent, Role, Token},
};

/// Makes it where nobody could make another one, and writes it into the state folder.
///
/// # Errors
/// When it is not stored or not written.
pub async fn make(handle: &Handle, security: &Security) -> Result<(), Error> {
    let failed = |error: &dyn std::fmt::Display| Error::FirstToken(error.to_string());
    let now = handle.now().await.map_err(|error| failed(&error))?;
    if handle.access().has_admin(now) {
        return Ok(());
    }
    let secret = Secret::generate();
    // It is written first: one that is stored and not known to anybody could not be replaced.
    let file = &security.admin_token_file;
    write_private(file, &format!("{}\n", secret.bearer())).map_err(|error| failed(&error))?;
    let token = Token {
        name: "first-admin".to_owned(),
        role: Role::Admin,
        project: ALL_PROJECTS.to_owned(),
        digest: secret.digest(),
        created_at: now,
        expires_at: None,
    };
    let event = AccessEvent::Create { id: secret.id.clone(), token };
    handle.change_access(event).await.map_err(|error| failed(&error))?;
    tracing::info!(file = %file.display(), "the first admin's token was written");
    Ok(())
}
