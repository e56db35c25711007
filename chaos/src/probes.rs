//! Every path under traffic.

use anyhow::{Context, Result, anyhow};
use testbed::demo::Stage;
use testbed::flow::Flow;
use testbed::stream::Stream;

use crate::judge::Record;
use crate::paths::{self, Path};

/// Datagrams a second on each path.
pub(crate) const RATE: u32 = 100;

/// Running probes.
#[derive(Default)]
pub(crate) struct Probes {
    flows: Vec<(Path, Flow)>,
    streams: Vec<(Path, Stream)>,
}

// === impl Probes ===

impl Probes {
    /// Starts the paths that `wanted` chooses.
    pub(crate) fn start(&mut self, stage: &Stage, wanted: impl Fn(&Path) -> bool) -> Result<()> {
        for path in paths::all().into_iter().filter(&wanted) {
            let (from, to) = (stage.pod(path.from)?, stage.pod(path.to)?);
            let flow = Flow::through(&path.name(), from, to, path.target(stage)?, RATE)?;
            self.flows.push((path, flow));
        }
        for path in paths::streams().into_iter().filter(&wanted) {
            let (from, to) = (stage.pod(path.from)?, stage.pod(path.to)?);
            let stream = Stream::start(&path.name(), from, to, path.target(stage)?)?;
            self.streams.push((path, stream));
        }
        Ok(())
    }

    /// Adds a flow that was started by hand.
    pub(crate) fn add(&mut self, path: Path, flow: Flow) {
        self.flows.push((path, flow));
    }

    /// Breaks one connection, to show that this is noticed.
    pub(crate) fn break_a_stream(&self) -> Result<()> {
        let (_, stream) = self.streams.first().context("there is a connection")?;
        stream.break_off()
    }

    /// Stops the paths that `wanted` chooses; what they logged.
    pub(crate) fn stop(&mut self, wanted: impl Fn(&Path) -> bool) -> Result<Vec<Record>> {
        let (flows, kept): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.flows).into_iter().partition(|(path, _)| wanted(path));
        self.flows = kept;
        let (streams, kept): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.streams).into_iter().partition(|(path, _)| wanted(path));
        self.streams = kept;
        let flow = |(path, flow): (Path, Flow)| -> Result<Record> {
            let report = flow.stop().with_context(|| path.name())?;
            Ok(Record::Flow { path, report })
        };
        let stream = |(path, stream): (Path, Stream)| -> Result<Record> {
            let report = stream.stop().with_context(|| path.name())?;
            Ok(Record::Stream { path, report })
        };
        // Each waits a moment for what is on its way: all at once.
        std::thread::scope(|scope| {
            let flows: Vec<_> = flows.into_iter().map(|one| scope.spawn(move || flow(one))).collect();
            let streams = streams.into_iter().map(|one| scope.spawn(move || stream(one)));
            let running = flows.into_iter().chain(streams.collect::<Vec<_>>());
            running.map(|thread| thread.join().map_err(|_| anyhow!("a probe died"))?).collect()
        })
    }
}
