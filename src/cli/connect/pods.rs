//! Reads pods page by page, because all pods of a large cluster can need too much memory. Also finds the [`Workload`]
//! of a pod.
//!
//! ```text
//!  API server ── 500 pods at a time ──► closure of the caller
//! ```

use k8s_openapi::api::core::v1::Pod;
use kube::{Client, api::ListParams};
use serde::Serialize;

use crate::{
    cli::{
        connect::session::Session,
        error::{Error, Result},
    },
    enforce::{OwnerRef, Roots},
    watch::request,
};

/// The maximum number of objects in the response to one list request.
pub const PAGE: u32 = 500;

pub async fn each_page(session: &Session, everywhere: bool, mut take: impl FnMut(Vec<Pod>)) -> Result<()> {
    let (api, place) = session.reach::<Pod>(everywhere);
    let mut page = ListParams::default().limit(PAGE);
    loop {
        let list = request::list(&api, &page).await.map_err(Error::api(format!("read the pods {place}")))?;
        let more = list.metadata.continue_.filter(|token| !token.is_empty());
        take(list.items);
        match more {
            Some(token) => page = page.continue_token(&token),
            None => return Ok(()),
        }
    }
}

/// The topmost controller of a pod, or the pod itself if no controller owns the pod.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Workload {
    pub api_version: String,
    pub kind: String,
    pub name: String,
}

impl Workload {
    /// Finds the workload of the pod with the name `pod`. `owner` is the controller of the pod, or `None` for a bare
    /// pod.
    pub async fn of(
        roots: &mut Roots,
        client: &Client,
        namespace: &str,
        pod: &str,
        owner: Option<&OwnerRef>,
    ) -> Self {
        let Some(owner) = owner else {
            return Self { api_version: "v1".to_owned(), kind: "Pod".to_owned(), name: pod.to_owned() };
        };
        let root = roots.of(client, namespace, owner).await;
        Self { api_version: root.api_version, kind: root.kind, name: root.name }
    }

    /// The kind and the name of the workload, as kubectl writes them, such as `deployment/chat`.
    pub fn in_words(&self) -> String {
        format!("{}/{}", self.kind.to_lowercase(), self.name)
    }
}
