//! `kindred nodes`: the machines and who holds their devices.

use kindred_proto::{
    listing::{Filter, NODE_COLUMNS},
    v1,
};
use uuid::Uuid;

use crate::{
    args::{Cordon, Global, NodeAction, NodeArg, Nodes},
    client::Client,
    exit::{Error, Exit},
    output::{self, Table},
    text, tokens,
};

/// Lists the nodes, takes one out of service and back, lets one join, or expels one.
pub async fn run(global: &Global, args: Nodes) -> Result<Exit, Error> {
    Filter::parse(&args.filter, NODE_COLUMNS)
        .map_err(|error| Error::invalid(format!("--filter: {error}")))?;
    let client = Client::connect(global).await?;
    let node = match args.action {
        None => {
            let nodes = filtered(&client, args.filter).await?;
            output::list(global.output, &nodes, "Node", || table(&nodes))?;
            return Ok(Exit::Succeeded);
        }
        Some(NodeAction::JoinToken(args)) => return tokens::join_token(global, args).await,
        Some(NodeAction::Expel(args)) => return tokens::expel(global, args).await,
        Some(NodeAction::Cordon(Cordon { of, reason })) => {
            let (node_id, request_id) = (find(&client, of).await?, request_id());
            let request = v1::CordonNodeRequest { node_id, reason, request_id };
            client.answer(client.nodes().cordon_node(request)).await?.node
        }
        Some(NodeAction::Drain(Cordon { of, reason })) => {
            let (node_id, request_id) = (find(&client, of).await?, request_id());
            let request = v1::DrainNodeRequest { node_id, reason, request_id };
            client.answer(client.nodes().drain_node(request)).await?.node
        }
        Some(NodeAction::Uncordon(of)) => {
            let (node_id, request_id) = (find(&client, of).await?, request_id());
            let request = v1::UncordonNodeRequest { node_id, request_id };
            client.answer(client.nodes().uncordon_node(request)).await?.node
        }
    };
    let nodes: Vec<v1::Node> = node.into_iter().collect();
    output::list(global.output, &nodes, "Node", || table(&nodes))?;
    Ok(Exit::Succeeded)
}

fn request_id() -> String {
    Uuid::new_v4().to_string()
}

/// The id of a node that is named by it or by its name; a name must be one node's.
async fn find(client: &Client, NodeArg { node }: NodeArg) -> Result<String, Error> {
    let nodes = all(client).await?;
    if nodes.iter().any(|known| known.id == node) {
        return Ok(node);
    }
    let named: Vec<&v1::Node> = nodes.iter().filter(|known| known.name == node).collect();
    match named.as_slice() {
        [one] => Ok(one.id.clone()),
        [] => Err(Error::invalid(format!("there is no node {node}: see `kindred nodes`"))),
        several => Err(Error::invalid(format!(
            "{} nodes are named {node}: give the id of one, as `kindred nodes` prints it",
            several.len()
        ))),
    }
}

/// Every node that the coordinator knows.
pub async fn all(client: &Client) -> Result<Vec<v1::Node>, Error> {
    filtered(client, String::new()).await
}

async fn filtered(client: &Client, filter: String) -> Result<Vec<v1::Node>, Error> {
    let mut request = v1::ListNodesRequest { filter, ..Default::default() };
    let mut nodes = Vec::new();
    loop {
        let page = client.answer(client.nodes().list_nodes(request.clone())).await?;
        nodes.extend(page.nodes);
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            return Ok(nodes);
        }
    }
}

fn table(nodes: &[v1::Node]) -> Table {
    let mut table = Table::new([
        "ID",
        "NAME",
        "STATE",
        "DEVICES",
        "FREE",
        "LABELS",
        "ADDRESS",
        "VERSION",
        "LAST REPORT",
        "REASON",
    ]);
    for node in nodes {
        let n_free = node.devices.iter().filter(|device| device.job_id.is_empty()).count();
        table.row([
            node.id.clone(),
            node.name.clone(),
            state(node),
            devices(&node.devices),
            n_free.to_string(),
            labels(node),
            node.data_address.clone(),
            node.agent_version.clone(),
            text::age(node.last_report_time.as_ref()),
            node.reason.clone(),
        ]);
    }
    table
}

/// How it stands, and what operators or its faults add to that.
/// What a node does, and whether it is out of service.
pub fn state(node: &v1::Node) -> String {
    let state = node.state().label();
    match (node.cordoned, node.draining, node.quarantined_until.is_some()) {
        (_, true, _) => format!("{state}, drained"),
        (true, ..) => format!("{state}, cordoned"),
        (.., true) => format!("{state}, quarantined"),
        _ => state,
    }
}

fn labels(node: &v1::Node) -> String {
    let mut labels: Vec<String> = node.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    labels.sort();
    labels.join(",")
}

/// `2 x cpu`, `8 x NVIDIA H100`.
fn devices(devices: &[v1::Device]) -> String {
    let Some(first) = devices.first() else { return String::new() };
    let model = match (first.kind(), first.model.as_str()) {
        (v1::DeviceKind::Cuda, model) if !model.is_empty() => model,
        (v1::DeviceKind::Cuda, _) => "cuda",
        _ => "cpu",
    };
    format!("{} x {model}", devices.len())
}
