//! Argo CD, as its users run it: what waits for people is Suspended, what is withheld Degraded, and nothing is put
//! right that was not wrong.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use assent_tests::{ArgoCd, Assent, ControlPlane, Layout, Output, Person, Scenario, binaries, until};
use serde_json::Value;

use Person::{Admin, Alice};

const SYSTEM: &str = "support-assistant";
const VERSION: &str = "support-assistant-v1";

const SOON: Duration = Duration::from_secs(20);

/// Assent and Argo CD on a control plane, with the repository of the layout for one.
struct Stage<'a> {
    scene: Scenario<'a>,
    argo: ArgoCd<'a>,
    layout: Layout,
}

impl<'a> Stage<'a> {
    async fn set(cluster: &'a ControlPlane) -> Result<Self> {
        let scene = Scenario { cluster, namespace: "support".to_owned() };
        let layout = Layout::copy("one-repository")?;
        Ok(Self { scene, argo: ArgoCd::install(cluster).await?, layout })
    }

    /// Applies what tells Argo CD where to look.
    async fn bootstrap(&self) -> Result<()> {
        let url = self.layout.commit("one-repository")?;
        for application in ["governance", "support"] {
            let file = format!("one-repository/argocd/{application}.yaml");
            self.layout.edit(&file, "https://github.com/example/platform.git", &url)?;
        }
        let directory = self.layout.path("one-repository/argocd").display().to_string();
        self.scene.cluster.kubectl(Admin, &["apply", "-k", &directory]).await?.ok().map(drop)
    }

    async fn assent(&self, person: Person, args: &[&str]) -> Result<Output> {
        let plugin = binaries()?.join("kubectl-assent").display().to_string();
        let cluster = self.scene.cluster;
        let args = [args, &["-n", &self.scene.namespace]].concat();
        cluster.run(cluster.account(person), &plugin, &args, None).await
    }

    async fn decide(&self, decision: &str) -> Result<()> {
        let args = [decision, SYSTEM, "--version", VERSION, "--reason=for the test", "--yes"];
        self.assent(Alice, &args).await?.ok().map(drop)
    }
}

pub async fn health_follows_the_life_of_a_system_and_nothing_flaps() -> Result<()> {
    let cluster = ControlPlane::start().await?;
    let _assent = Assent::install(&cluster).await?;
    let stage = Stage::set(&cluster).await?;
    stage.bootstrap().await?;
    let (scene, argo) = (&stage.scene, &stage.argo);
    argo.is("governance", "Healthy").await?;
    scene.held(SYSTEM, 2).await?;
    for kind in ["AISystem", "ModelVersion"] {
        let message = argo.shows("support", kind, "Suspended").await?;
        ensure!(message.contains("kubectl assent approve support-assistant"), "{message}");
    }
    stage.decide("approve").await?;
    scene.running(SYSTEM, 2).await?;
    argo.is("support", "Healthy").await
}
