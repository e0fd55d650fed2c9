//! `NodeService`: the machines, as users see them.

use kindred_proto::{
    failure::Failure,
    ids::NodeId,
    listing::{Filter, NODE_COLUMNS},
    v1::{self, node_service_server::NodeService},
};
use tonic::{Request, Response, Status, async_trait};

use super::{
    answer,
    jobs::check_request_id,
    page::{Bounds, Pages},
};
use crate::{
    access::Caller,
    engine::{Handle, node_value},
    model::Cordon,
};

const NODES: Bounds = Bounds { default: 100, most: 1000 };

/// The service, over the engine's handle.
pub struct Nodes {
    /// The engine.
    pub handle: Handle,
}

#[async_trait]
impl NodeService for Nodes {
    async fn get_node(
        &self,
        request: Request<v1::GetNodeRequest>,
    ) -> Result<Response<v1::GetNodeResponse>, Status> {
        let node_id = NodeId::new(request.into_inner().node_id);
        answer(async { Ok(v1::GetNodeResponse { node: Some(self.handle.get_node(&node_id).await?) }) }).await
    }

    async fn list_nodes(
        &self,
        request: Request<v1::ListNodesRequest>,
    ) -> Result<Response<v1::ListNodesResponse>, Status> {
        let request = request.into_inner();
        answer(async {
            let filter = Filter::parse(&request.filter, NODE_COLUMNS);
            let filter = filter.map_err(|error| error.in_field("filter"))?;
            let pages = Pages::new("nodes", &request.filter, request.page_size, NODES);
            let mut all = self.handle.list_nodes().await?;
            all.retain(|node| filter.takes(|key| node_value(node, key)));
            let (nodes, next_page_token) = pages.cut_sorted(all, &request.page_token, |node| &node.id)?;
            Ok(v1::ListNodesResponse { nodes, next_page_token })
        })
        .await
    }

    async fn cordon_node(
        &self,
        request: Request<v1::CordonNodeRequest>,
    ) -> Result<Response<v1::CordonNodeResponse>, Status> {
        let caller = Caller::of(&request);
        caller.is_about(&request.get_ref().node_id);
        let v1::CordonNodeRequest { node_id, reason, request_id } = request.into_inner();
        let cordon = Some(Cordon { reason, drains: false });
        answer(async {
            Ok(v1::CordonNodeResponse {
                node: Some(self.cordon(&caller, &node_id, cordon, &request_id).await?),
            })
        })
        .await
    }

    async fn uncordon_node(
        &self,
        request: Request<v1::UncordonNodeRequest>,
    ) -> Result<Response<v1::UncordonNodeResponse>, Status> {
        let caller = Caller::of(&request);
        caller.is_about(&request.get_ref().node_id);
        let v1::UncordonNodeRequest { node_id, request_id } = request.into_inner();
        answer(async {
            Ok(v1::UncordonNodeResponse {
                node: Some(self.cordon(&caller, &node_id, None, &request_id).await?),
            })
        })
        .await
    }

    async fn drain_node(
        &self,
        request: Request<v1::DrainNodeRequest>,
    ) -> Result<Response<v1::DrainNodeResponse>, Status> {
        let caller = Caller::of(&request);
        caller.is_about(&request.get_ref().node_id);
        let v1::DrainNodeRequest { node_id, reason, request_id } = request.into_inner();
        let cordon = Some(Cordon { reason, drains: true });
        answer(async {
            Ok(v1::DrainNodeResponse {
                node: Some(self.cordon(&caller, &node_id, cordon, &request_id).await?),
            })
        })
        .await
    }
}

impl Nodes {
    async fn cordon(
        &self,
        caller: &Caller,
        node_id: &str,
        cordon: Option<Cordon>,
        request_id: &str,
    ) -> Result<v1::Node, Failure> {
        check_request_id(request_id)?;
        self.handle.by(&caller.name()).cordon_node(&NodeId::new(node_id), cordon).await
    }
}
