//! `kindred tokens`, `kindred nodes join-token` and `expel`, and `kindred events --audit`.

use kindred_proto::v1;

use crate::{
    args::{CreateToken, Events, Expel, Global, JoinToken, RevokeToken, Tokens},
    client::Client,
    exit::{Error, Exit},
    output::{self, Table},
    text,
};

/// Makes, lists and revokes tokens.
pub async fn run(global: &Global, args: Tokens) -> Result<Exit, Error> {
    match args {
        Tokens::Create(args) => create(global, args).await,
        Tokens::List => list(global).await,
        Tokens::Revoke(args) => revoke(global, args).await,
    }
}

/// Prints what a worker joins with.
pub async fn join_token(global: &Global, args: JoinToken) -> Result<Exit, Error> {
    let client = Client::connect(global).await?;
    let request = v1::CreateJoinTokenRequest { ttl_s: args.ttl, address: args.address.unwrap_or_default() };
    let answer = client.answer(client.access().create_join_token(request)).await?;
    output::result(&answer.join)?;
    output::note("for one worker, once: kindred-worker --join TEXT --state DIR --data-root DIR");
    Ok(Exit::Succeeded)
}

/// Refuses a node's certificate from now on.
pub async fn expel(global: &Global, args: Expel) -> Result<Exit, Error> {
    let client = Client::connect(global).await?;
    let request = v1::ExpelNodeRequest { node_id: args.node.clone() };
    client.answer(client.access().expel_node(request)).await?;
    output::note(&format!("{} is refused from now on; it may join again with a new join token", args.node));
    Ok(Exit::Succeeded)
}

/// Prints who did what, newest first.
pub async fn events(global: &Global, args: Events) -> Result<Exit, Error> {
    let client = Client::connect(global).await?;
    let mut request = v1::ListAuditEventsRequest::default();
    let mut events = Vec::new();
    loop {
        let page = client.answer(client.access().list_audit_events(request.clone())).await?;
        events.extend(page.events);
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() || events.len() >= args.limit {
            break;
        }
    }
    events.truncate(args.limit);
    output::list(global.output, &events, "AuditEvent", || events_table(&events))?;
    Ok(Exit::Succeeded)
}

async fn create(global: &Global, args: CreateToken) -> Result<Exit, Error> {
    let client = Client::connect(global).await?;
    let request = v1::CreateTokenRequest {
        name: args.name,
        role: v1::Role::from(args.role).into(),
        project: args.project,
        ttl_s: args.ttl.unwrap_or(0),
    };
    let answer = client.answer(client.access().create_token(request)).await?;
    output::result(&answer.secret)?;
    let token = answer.token.unwrap_or_default();
    output::note(&format!(
        "token {} of {}: it is not shown again; use it as KINDRED_TOKEN",
        token.id, token.name
    ));
    Ok(Exit::Succeeded)
}

async fn list(global: &Global) -> Result<Exit, Error> {
    let client = Client::connect(global).await?;
    let mut request = v1::ListTokensRequest::default();
    let mut tokens = Vec::new();
    loop {
        let page = client.answer(client.access().list_tokens(request.clone())).await?;
        tokens.extend(page.tokens);
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    output::list(global.output, &tokens, "Token", || tokens_table(&tokens))?;
    Ok(Exit::Succeeded)
}

async fn revoke(global: &Global, args: RevokeToken) -> Result<Exit, Error> {
    let client = Client::connect(global).await?;
    let request = v1::RevokeTokenRequest { token_id: args.token.clone() };
    client.answer(client.access().revoke_token(request)).await?;
    output::note(&format!("token {} is refused from now on", args.token));
    Ok(Exit::Succeeded)
}

fn tokens_table(tokens: &[v1::Token]) -> Table {
    let mut table = Table::new(["ID", "NAME", "ROLE", "PROJECT", "AGE", "EXPIRES"]);
    for token in tokens {
        let role = token.role().as_str_name().trim_start_matches("ROLE_").to_lowercase();
        table.row([
            token.id.clone(),
            token.name.clone(),
            role,
            token.project.clone(),
            text::age(token.create_time.as_ref()),
            token.expire_time.as_ref().map(ToString::to_string).unwrap_or_default(),
        ]);
    }
    table
}

fn events_table(events: &[v1::AuditEvent]) -> Table {
    let mut table = Table::new(["TIME", "CALLER", "FROM", "METHOD", "OBJECT", "OUTCOME", "REASON"]);
    for event in events {
        table.row([
            event.time.as_ref().map(ToString::to_string).unwrap_or_default(),
            event.caller.clone(),
            event.peer.clone(),
            event.method.clone(),
            event.object.clone(),
            event.outcome.clone(),
            event.reason.clone(),
        ]);
    }
    table
}
