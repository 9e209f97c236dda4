//! A mutating webhook like that of a service mesh or a secrets agent. It changes every new pod of a namespace after the
//! API server has evaluated the admission policies once.
//!
//! ```text
//!  CREATE pod ─► assent-gate ─► HTTPS: this webhook ─► assent-gate again, since the pod changed ─► …
//! ```

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::{Context, Result};
use axum::{Json, Router, extract::State, routing::post, serve::Listener};
use k8s_openapi::ByteString;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::{ControlPlane, Person, ports};

/// A function that returns the JSON patch for a pod.
type Injects = Arc<dyn Fn(&Value) -> Value + Send + Sync>;

/// A webhook server that is registered for the pods of one namespace. The server stops on drop.
pub struct Webhook(JoinHandle<()>);

impl Webhook {
    /// Starts a webhook that patches each new pod of `namespace` with the result of `injects`, a JSON patch.
    pub async fn start(
        cluster: &ControlPlane,
        namespace: &str,
        injects: impl Fn(&Value) -> Value + Send + Sync + 'static,
    ) -> Result<Self> {
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["127.0.0.1".to_owned()])?;
        let key = PrivateKeyDer::try_from(signing_key.serialize_der()).map_err(anyhow::Error::msg)?;
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)?;
        let address = (Ipv4Addr::LOCALHOST, ports::free_port().context("no free port")?).into();
        let listener =
            Tls { tcp: TcpListener::bind(address).await?, acceptor: TlsAcceptor::from(Arc::new(config)) };
        let injects: Injects = Arc::new(injects);
        let router = Router::new().route("/", post(review)).with_state(injects);
        let served = tokio::spawn(async move {
            let _ = axum::serve(listener, router).await;
        });
        register(cluster, namespace, address, &cert.pem()).await?;
        Ok(Self(served))
    }
}

impl Drop for Webhook {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn register(cluster: &ControlPlane, namespace: &str, address: SocketAddr, ca: &str) -> Result<()> {
    let configuration = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
        "metadata": { "name": namespace },
        "webhooks": [{
            "name": "injector.mesh.example", "admissionReviewVersions": ["v1"], "sideEffects": "None",
            "clientConfig": { "url": format!("https://{address}/"), "caBundle": ByteString(ca.into()) },
            "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": namespace } },
            "rules": [{ "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "operations": ["CREATE"] }],
        }],
    });
    cluster
        .kubectl_stdin(Person::Admin, &["apply", "-f", "-"], &configuration.to_string())
        .await?
        .ok()
        .map(drop)
}

async fn review(State(injects): State<Injects>, Json(review): Json<Value>) -> Json<Value> {
    let request = &review["request"];
    let patch = injects(&request["object"]).to_string();
    Json(json!({ "apiVersion": review["apiVersion"], "kind": review["kind"], "response": {
        "uid": request["uid"], "allowed": true, "patchType": "JSONPatch", "patch": ByteString(patch.into()) } }))
}

struct Tls {
    tcp: TcpListener,
    acceptor: TlsAcceptor,
}

impl Listener for Tls {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        loop {
            let (stream, address) = Listener::accept(&mut self.tcp).await;
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.tcp.local_addr()
    }
}
