//! `kindred nodes`: the machines and who holds their devices.

use kindred_proto::v1;

use crate::{
    args::Global,
    client::Client,
    exit::{Error, Exit},
    output::{self, Table},
    text,
};

/// Lists the nodes.
pub async fn run(global: &Global) -> Result<Exit, Error> {
    let client = Client::connect(global).await?;
    let nodes = all(&client).await?;
    output::list(global.output, &nodes, "Node", || table(&nodes))?;
    Ok(Exit::Succeeded)
}

/// Every node that the coordinator knows.
pub async fn all(client: &Client) -> Result<Vec<v1::Node>, Error> {
    let mut request = v1::ListNodesRequest::default();
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
    let mut table =
        Table::new(["ID", "NAME", "STATE", "DEVICES", "FREE", "ADDRESS", "VERSION", "LAST REPORT", "REASON"]);
    for node in nodes {
        let n_free = node.devices.iter().filter(|device| device.job_id.is_empty()).count();
        table.row([
            node.id.clone(),
            node.name.clone(),
            node.state().label(),
            devices(&node.devices),
            n_free.to_string(),
            node.data_address.clone(),
            node.agent_version.clone(),
            text::age(node.last_report_time.as_ref()),
            node.reason.clone(),
        ]);
    }
    table
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
