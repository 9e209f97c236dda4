//! The pods of a namespace, or of all, a page at a time: a cluster has more than fit in memory.
//!
//! ```text
//!  API server ── 500 at a time ──► Pages ──► what the caller makes of them
//!  controller of a pod ── Roots ──► the workload that people know
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

/// How many objects are read at a time.
pub const PAGE: u32 = 500;

/// Hands pods to `take`, page by page.
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

/// The workload that people know a pod by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Workload {
    /// Its API version.
    pub api_version: String,
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
}

impl Workload {
    /// The root above `owner`; without one, the pod itself.
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

    /// As kubectl writes it.
    pub fn in_words(&self) -> String {
        format!("{}/{}", self.kind.to_lowercase(), self.name)
    }
}
