//! Reads the signs of AI workloads from the `ConfigMap` that the chart creates from its values.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;

use crate::{
    cli::{
        connect::session::Session,
        error::{Error, Result},
    },
    policy::Accelerators,
};

/// The namespace into which users install Assent by default.
pub const NAMESPACE: &str = "assent-system";

const NAME: &str = "assent-inventory";

/// The signs in the values of the chart.
#[derive(Clone, Debug, Default)]
pub struct Listed {
    /// Patterns for the names of images that run AI workloads, one on each line.
    pub image_patterns: String,
    /// Signs of accelerators in addition to the built-in signs.
    pub accelerators: Accelerators,
}

impl Listed {
    /// Reads the `ConfigMap` of the Helm release in `namespace`.
    pub async fn read(session: &Session, namespace: &str) -> Result<Self> {
        let api = Api::<ConfigMap>::namespaced(session.client.clone(), namespace);
        let doing = format!("read configmap/{NAME} in namespace {namespace}");
        let map = api.get(NAME).await.map_err(Error::api(doing))?;
        let mut data = map.data.unwrap_or_default();
        let mut text = |key: &str| data.remove(key).unwrap_or_default();
        // A newer chart can write signs of accelerators that this plugin cannot parse. Then only the built-in signs of
        // accelerators count.
        let accelerators = text("accelerators").parse().unwrap_or_default();
        Ok(Self { image_patterns: text("image-patterns"), accelerators })
    }
}

/// The built-in signs of accelerators, and the signs in the chart's `ConfigMap` in [`NAMESPACE`]. If the command cannot read
/// this `ConfigMap`, only the built-in signs.
pub async fn accelerators(session: &Session) -> Accelerators {
    Listed::read(session, NAMESPACE).await.unwrap_or_default().accelerators
}
