//! Connects to the cluster, and reads the objects that several commands need.

pub(crate) mod cluster_objects;
pub(crate) mod pods;
pub(crate) mod rbac;
pub(crate) mod session;
pub(crate) mod signs;
pub(crate) mod system_record;
pub(crate) mod target;
pub(crate) mod templates;
