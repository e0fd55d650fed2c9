//! `NodeService`: the machines, as users see them.

use kindred_proto::{
    ids::NodeId,
    v1::{self, node_service_server::NodeService},
};
use tonic::{Request, Response, Status, async_trait};

use super::{
    answer,
    page::{Bounds, Pages},
};
use crate::engine::Handle;

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
            let pages = Pages::new("nodes", (), request.page_size, NODES);
            let all = self.handle.list_nodes().await?;
            let (nodes, next_page_token) = pages.cut(all, &request.page_token, |node| &node.id)?;
            Ok(v1::ListNodesResponse { nodes, next_page_token })
        })
        .await
    }
}
