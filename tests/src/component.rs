//! The processes of a control plane, by name, so that tests can break them.
//!
//! ```text
//! etcd <── kube-apiserver <─┬─ kube-controller-manager   as system:kube-controller-manager
//!                           ├─ kube-scheduler            as system:kube-scheduler
//!                           └─ kwok                      as kwok, of system:masters
//! ```

/// A process of the control plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Component {
    /// Stores the data.
    Etcd,
    /// Serves the API.
    ApiServer,
    /// Runs the built-in controllers: Deployments, Jobs, namespaces, garbage collection.
    ControllerManager,
    /// Assigns pods to nodes.
    Scheduler,
    /// Simulates the nodes, and reports pods as running.
    Kwok,
}

impl Component {
    /// All components, in the order in which they start.
    pub const ALL: [Self; 5] =
        [Self::Etcd, Self::ApiServer, Self::ControllerManager, Self::Scheduler, Self::Kwok];

    /// The name of the program and of the log file.
    pub const fn program(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::ApiServer => "kube-apiserver",
            Self::ControllerManager => "kube-controller-manager",
            Self::Scheduler => "kube-scheduler",
            Self::Kwok => "kwok",
        }
    }

    /// Whether the component is part of a Kubernetes release. `Options::kubernetes` sets the version of such a
    /// component.
    pub const fn is_kubernetes(self) -> bool {
        matches!(self, Self::ApiServer | Self::ControllerManager | Self::Scheduler)
    }

    /// The user name and groups of the component, if it is a client of the API server.
    pub const fn user(self) -> Option<(&'static str, &'static [&'static str])> {
        match self {
            Self::Etcd | Self::ApiServer => None,
            Self::ControllerManager => Some(("system:kube-controller-manager", &[])),
            Self::Scheduler => Some(("system:kube-scheduler", &[])),
            Self::Kwok => Some(("kwok", &["system:masters"])),
        }
    }
}
