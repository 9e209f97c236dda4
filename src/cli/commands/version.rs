//! Prints the versions of the plugin, of Kubernetes and of the Assent API.
//!
//! The versions of the plugin and of the Assent API can differ, because users upgrade the plugin and the cluster
//! independently.

use crate::{
    api::GROUP,
    cli::{
        connect::session::Connection,
        error::{Error, Result},
        render::page::Page,
    },
};

pub async fn version(connection: &Connection, client_only: bool) -> Result<()> {
    let mut page = Page::default();
    page.field("plugin", concat!("v", env!("CARGO_PKG_VERSION")));
    if client_only {
        anstream::print!("{}", page.finish());
        return Ok(());
    }
    let session = connection.session().await?;
    let server = session.client.apiserver_version().await;
    let server = server.map_err(Error::api(format!("read the version of {}", session.server)))?;
    let groups = session.client.list_api_groups().await;
    let groups = groups.map_err(Error::api(format!("read the APIs of {}", session.server)))?;
    let assent = groups.groups.into_iter().find(|group| group.name == GROUP);
    let apis = assent.map(|group| group.versions.into_iter().map(|v| v.group_version).collect::<Vec<_>>());
    page.field("Kubernetes", &format!("{} at {}", server.git_version, session.server));
    page.list("API", apis.unwrap_or_default());
    anstream::print!("{}", page.finish());
    Ok(())
}
