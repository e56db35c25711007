//! Values the user side changes while the programs run; what never changes is a rodata global.

/// Cells of the `config` array (`u64` each).
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigCell {
    /// 0: nobody listens, no event is written. Else a [`MonitorLevel`] plus one.
    Monitor = 0,
    /// Seconds of the monotonic clock at which the agent last said that it lives.
    AgentAlive = 1,
    /// Raised after every change of a policy set: verdicts remembered under another number are decided anew.
    PolicyRevision = 2,
}

impl ConfigCell {
    /// Cells of the array; spare ones keep the pinned layout stable.
    pub const COUNT: usize = 16;
}

/// `--monitor-aggregation`: which events are left out.
#[repr(u64)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MonitorLevel {
    /// Every trace point of every packet.
    None = 0,
    /// Without the points that see a packet enter the node's programs.
    Low = 1,
    /// Trace events only when conntrack reports: new TCP flags or 5 s since the last report.
    Medium = 2,
    /// As medium; Cilium distinguishes the two by TCP flags only.
    Maximum = 3,
}
