//! The signs of AI workloads that the chart's values list: the chart keeps them in a `ConfigMap`.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;

use crate::{
    cli::{
        connect::session::Session,
        error::{Error, Result},
    },
    policy::Accelerators,
};

/// The namespace that Assent is installed in, unless somebody says another.
pub const NAMESPACE: &str = "assent-system";

const NAME: &str = "assent-inventory";

/// What the chart's values list, as text.
#[derive(Clone, Debug, Default)]
pub struct Listed {
    /// Patterns of images, one a line.
    pub image_patterns: String,
    /// More signs of accelerators.
    pub accelerators: Accelerators,
}

impl Listed {
    /// Reads the `ConfigMap` of the release in `namespace`.
    pub async fn read(session: &Session, namespace: &str) -> Result<Self> {
        let api = Api::<ConfigMap>::namespaced(session.client.clone(), namespace);
        let doing = format!("read configmap/{NAME} in namespace {namespace}");
        let map = api.get(NAME).await.map_err(Error::api(doing))?;
        let mut data = map.data.unwrap_or_default();
        let mut text = |key: &str| data.remove(key).unwrap_or_default();
        // What this version cannot read comes from another version; the known signs still count.
        let accelerators = text("accelerators").parse().unwrap_or_default();
        Ok(Self { image_patterns: text("image-patterns"), accelerators })
    }
}

/// The signs of accelerators: without the values' own where these cannot be read.
pub async fn accelerators(session: &Session) -> Accelerators {
    Listed::read(session, NAMESPACE).await.unwrap_or_default().accelerators
}
