//! What a control plane consists of, so that tests can break its parts by name.
//!
//! ```text
//! etcd <── kube-apiserver <─┬─ kube-controller-manager   as system:kube-controller-manager
//!                           ├─ kube-scheduler            as system:kube-scheduler
//!                           └─ kwok                      as kwok, of system:masters
//! ```

/// A process of the control plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Component {
    /// Keeps the data.
    Etcd,
    /// Serves the API.
    ApiServer,
    /// Runs the built-in controllers: Deployments, Jobs, namespaces, garbage collection.
    ControllerManager,
    /// Gives pods a node.
    Scheduler,
    /// Plays the nodes: makes pods run.
    Kwok,
}

impl Component {
    /// In the order they are started.
    pub const ALL: [Self; 5] =
        [Self::Etcd, Self::ApiServer, Self::ControllerManager, Self::Scheduler, Self::Kwok];

    /// The name of its program, and of its log.
    pub const fn program(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::ApiServer => "kube-apiserver",
            Self::ControllerManager => "kube-controller-manager",
            Self::Scheduler => "kube-scheduler",
            Self::Kwok => "kwok",
        }
    }

    /// Whether it is released with Kubernetes, and so is of the version that is tested.
    pub const fn is_kubernetes(self) -> bool {
        matches!(self, Self::ApiServer | Self::ControllerManager | Self::Scheduler)
    }

    /// Who it is to the API server, for those that are its clients.
    pub const fn user(self) -> Option<(&'static str, &'static [&'static str])> {
        match self {
            Self::Etcd | Self::ApiServer => None,
            Self::ControllerManager => Some(("system:kube-controller-manager", &[])),
            Self::Scheduler => Some(("system:kube-scheduler", &[])),
            Self::Kwok => Some(("kwok", &["system:masters"])),
        }
    }
}
