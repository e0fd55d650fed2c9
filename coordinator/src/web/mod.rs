//! The dashboard: the API's data as pages, over HTTP on a listener of its own.
//!
//! It decides nothing and reads nothing by itself: whatever a page asks for is a call of the same services through the same gate
//! ([`Api`]), so that roles, projects, limits and audit events hold here as they do for the command line. Who signs in keeps the token
//! in a cookie that scripts cannot read (`session`). The pages are files in `static/`, written by hand and built into the program:
//! they load nothing from anywhere else.

use std::{io, sync::Arc};

use axum::{
    Router,
    extract::DefaultBodyLimit,
    middleware,
    routing::{get, post},
};
use tokio::{net::TcpListener, time};
use tokio_util::sync::CancellationToken;

use crate::{
    access::{Security, web_tls},
    api::GRACE,
};
use doors::{Doors, Peer};

mod api;
mod assets;
mod caller;
mod calls;
mod departures;
mod doors;
mod hedge;
mod metrics;
mod refusal;
mod session;
mod streams;

pub use api::Api;

/// Requests of users: a filter, or a reason.
const MAX_REQUEST_BYTES: usize = 1 << 20;

/// Why the dashboard cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The listener broke.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The certificate cannot be used.
    #[error("TLS: {0}")]
    Tls(#[from] tokio_rustls::rustls::Error),
}

/// What handlers need.
#[derive(Clone)]
struct App {
    api: Api,
    /// Whether connections are encrypted, and callers asked who they are.
    is_secured: bool,
    shutdown: CancellationToken,
}

/// The dashboard, before it is served.
pub struct Site {
    doors: Doors,
    api: Api,
    is_secured: bool,
}

impl Site {
    /// Takes a listener, with TLS where the coordinator has it.
    ///
    /// # Errors
    /// When the certificate cannot be used.
    pub fn open(listener: TcpListener, api: Api, security: Option<&Security>) -> Result<Self, Error> {
        let tls = security.map(web_tls).transpose()?;
        Ok(Self { doors: Doors::open(listener, tls.map(Arc::new))?, api, is_secured: security.is_some() })
    }

    /// Serves until `shutdown`; what is open after the API's grace is cut.
    ///
    /// # Errors
    /// When the listener breaks.
    pub async fn serve(self, shutdown: CancellationToken) -> Result<(), Error> {
        let Self { doors, api, is_secured } = self;
        let app = App { api, is_secured, shutdown: shutdown.clone() };
        let service = router(app).into_make_service_with_connect_info::<Peer>();
        let server = axum::serve(doors, service).with_graceful_shutdown(shutdown.clone().cancelled_owned());
        let grace_over = async {
            shutdown.cancelled().await;
            time::sleep(GRACE).await;
        };
        tokio::select! {
            outcome = server => outcome?,
            () = grace_over => tracing::debug!("connections of the dashboard were cut"),
        }
        Ok(())
    }
}

fn router(app: App) -> Router {
    let mut router = Router::new();
    for path in assets::PAGES {
        router = router.route(path, get(assets::page));
    }
    router
        .route("/assets/{*path}", get(assets::asset))
        .route("/api/session", get(session::show).post(session::sign_in).delete(session::sign_out))
        .route("/api/call/{service}/{method}", post(calls::call))
        .route("/api/stream/{service}/{method}", get(streams::stream))
        .route("/api/departures/{job_id}", get(departures::departures))
        .route("/metrics", get(metrics::metrics))
        .fallback(refusal::no_such_page)
        .layer(DefaultBodyLimit::max(MAX_REQUEST_BYTES))
        .layer(middleware::from_fn_with_state(app.clone(), hedge::stand_before))
        .with_state(app)
}
