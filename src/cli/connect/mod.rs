//! The connection to the cluster, and the reads that several commands share.

pub(crate) mod pods;
pub(crate) mod rbac;
pub(crate) mod session;
pub(crate) mod signs;
pub(crate) mod system_record;
pub(crate) mod templates;
