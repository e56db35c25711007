//! The task that runs the [`Core`], and the handle that the API calls.

use std::collections::BTreeMap;
use std::path::PathBuf;

use model::EndpointId;
use statedb::{Change, Initializer, Reader, Writer};
use tables::{Endpoint, Grant, IdentityGrant, IdentityRequest, Namespace, Pod, Realized};
use tokio::sync::{mpsc, oneshot};

use crate::{Core, CreateError, CreateRequest, Effect, Labelling, disk};

/// Creates that may wait at once; the runtime starts pods one after another, so this is never reached in earnest.
const COMMANDS: usize = 256;

/// The tables that endpoints read and write.
pub struct Tables {
    /// Pod objects.
    pub pods: Reader<Pod>,
    /// Namespace objects.
    pub namespaces: Reader<Namespace>,
    /// The allocator's answers.
    pub grants: Reader<IdentityGrant>,
    /// What the datapath enforces.
    pub realized: Reader<Realized>,
    /// The endpoints.
    pub endpoints: Writer<Endpoint>,
    /// The label sets in use.
    pub requests: Writer<IdentityRequest>,
}

/// Endpoints of an earlier run whose interfaces are still there.
pub struct Restored {
    /// Their rows.
    pub rows: Vec<Endpoint>,
    /// Said to be done when they are in the table: until then nothing may be pruned.
    pub announced: Initializer<Endpoint>,
}

/// Creates and deletes endpoints. Clones share.
#[derive(Clone)]
pub struct Manager(mpsc::Sender<Command>);

enum Command {
    Create(Box<CreateRequest>, oneshot::Sender<Result<EndpointId, CreateError>>),
    Delete(EndpointId, oneshot::Sender<bool>),
}

/// The inputs of [`run`], to be spawned by the process.
pub struct Driver {
    commands: mpsc::Receiver<Command>,
}

// === impl Manager ===

impl Manager {
    /// A handle and the receiving end for [`run`].
    pub fn new() -> (Self, Driver) {
        let (sender, commands) = mpsc::channel(COMMANDS);
        (Self(sender), Driver { commands })
    }

    /// Creates an endpoint; returns when its traffic flows under its policy.
    ///
    /// # Errors
    ///
    /// [`CreateError`]; nothing is then left behind.
    pub async fn create(&self, request: CreateRequest) -> Result<EndpointId, CreateError> {
        let (sender, answer) = oneshot::channel();
        let sent = self.0.send(Command::Create(Box::new(request), sender)).await;
        sent.map_err(|_| CreateError::Stopping)?;
        answer.await.unwrap_or(Err(CreateError::Stopping))
    }

    /// Deletes an endpoint; true when there was one. Its row is gone when this returns.
    pub async fn delete(&self, id: EndpointId) -> bool {
        let (sender, answer) = oneshot::channel();
        self.0.send(Command::Delete(id, sender)).await.is_ok() && answer.await.unwrap_or(false)
    }
}

/// Runs until the future is dropped.
pub async fn run(driver: Driver, tables: Tables, labelling: Labelling, folder: PathBuf, restored: Restored) {
    let mut commands = driver.commands;
    let mut core = Core::new(labelling);
    let mut waiters: BTreeMap<EndpointId, oneshot::Sender<Result<EndpointId, CreateError>>> = BTreeMap::new();
    let mut pods = tables.pods.watch();
    let mut namespaces = tables.namespaces.watch();
    let mut grants = tables.grants.changes();
    let mut realized = tables.realized.changes();
    for row in restored.rows {
        core.handle_restore(row);
    }
    core.handle_objects(runtime::now(), &tables.pods.snapshot(), &tables.namespaces.snapshot());
    while let Some(effect) = core.poll_effect() {
        execute(effect, &tables, &folder, &mut waiters);
    }
    restored.announced.done();
    loop {
        let timeout = core.poll_timeout();
        let objects = || (tables.pods.snapshot(), tables.namespaces.snapshot());
        while let Some(effect) = core.poll_effect() {
            execute(effect, &tables, &folder, &mut waiters);
        }
        tokio::select! {
            Some(command) = commands.recv() => match command {
                Command::Create(request, sender) => {
                    let (pods, namespaces) = objects();
                    match core.handle_create(runtime::now(), *request, &pods, &namespaces) {
                        Ok(id) => drop(waiters.insert(id, sender)),
                        // The caller may have gone away meanwhile; then nobody wants the answer.
                        Err(error) => drop(sender.send(Err(error))),
                    }
                }
                Command::Delete(id, sender) => {
                    let deleted = core.handle_delete(id);
                    while let Some(effect) = core.poll_effect() {
                        execute(effect, &tables, &folder, &mut waiters);
                    }
                    sender.send(deleted).ok();
                }
            },
            () = pods.changed() => {
                let (pods, namespaces) = objects();
                core.handle_objects(runtime::now(), &pods, &namespaces);
            }
            () = namespaces.changed() => {
                let (pods, namespaces) = objects();
                core.handle_objects(runtime::now(), &pods, &namespaces);
            }
            () = grants.wait() => for change in grants.drain() {
                let row = change.row();
                let grant: Option<Grant> = matches!(change, Change::Upsert(_)).then(|| row.grant.clone());
                core.handle_grant(runtime::now(), row.labels.clone(), grant);
            },
            () = realized.wait() => for change in realized.drain() {
                if let Change::Upsert(row) = change {
                    core.handle_realized(row.id, row.identity);
                }
            },
            () = runtime::sleep_until(timeout) => core.handle_timeout(runtime::now()),
        }
    }
}

fn execute(
    effect: Effect,
    tables: &Tables,
    folder: &std::path::Path,
    waiters: &mut BTreeMap<EndpointId, oneshot::Sender<Result<EndpointId, CreateError>>>,
) {
    match effect {
        Effect::Upsert(row) => {
            // An endpoint without an identity has nothing worth restoring: the runtime asks again.
            if row.identity.is_some()
                && let Err(error) = disk::save(folder, &row)
            {
                tracing::error!(endpoint = %row.id, error = %with_source(&error), "endpoint would not survive a restart");
            }
            tables.endpoints.upsert(*row);
        }
        Effect::Remove(id) => {
            tables.endpoints.delete(&id);
            if let Err(error) = disk::remove(folder, id) {
                tracing::error!(endpoint = %id, error = %with_source(&error), "endpoint file stays behind");
            }
        }
        Effect::Request(labels) => drop(tables.requests.upsert(IdentityRequest { labels })),
        Effect::Release(labels) => drop(tables.requests.delete(&labels)),
        Effect::Created(id) => answer(waiters, id, Ok(id)),
        Effect::Failed(id, error) => answer(waiters, id, Err(error)),
    }
}

fn answer(
    waiters: &mut BTreeMap<EndpointId, oneshot::Sender<Result<EndpointId, CreateError>>>,
    id: EndpointId,
    result: Result<EndpointId, CreateError>,
) {
    if let Some(waiter) = waiters.remove(&id) {
        drop(waiter.send(result));
    }
}

fn with_source(error: &disk::FileError) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
