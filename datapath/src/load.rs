//! Programs into the kernel, maps onto their pins.

use crate::{
    Config, Error,
    addr::{addr4, addr6},
    carry::{self, Outgrown},
    conntrack,
    devices::{self, Devices},
    kernel::{
        Pinned,
        pinned::{PodPrograms, attach_pinned},
    },
    pins,
    sys::{self, Hook},
};
use aya::{Ebpf, EbpfLoader, programs::SchedClassifier};
use ebpf_abi::{ConfigCell, MapSpec, Plain, maps, tick_shift, ticks};
use parking_lot::Mutex;
use std::{
    fs, io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

static OBJECT: &[u8] = aya::include_bytes_aligned!(env!("CAUSEWAY_EBPF_OBJECT"));

/// The loaded datapath of one node. Dropping it detaches nothing.
pub struct Datapath {
    config: Config,
    devices: Devices,
    programs: Programs,
    replaced_maps: Vec<&'static str>,
    /// Conntrack maps of another version, until our programs have taken over.
    outgrown: Mutex<Vec<Outgrown>>,
    costs: Vec<Cost>,
}

/// The programs of the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// What a pod sends.
    LxcIn,
    /// What the host's stack sends to a pod.
    LxcOut,
    /// What other nodes send.
    OverlayIn,
    /// What the host's stack sends to pods.
    FromHost,
}

/// Descriptors of the loaded programs.
#[derive(Clone)]
pub(crate) struct Programs {
    pub(crate) pod: PodPrograms,
    pub(crate) overlay_in: Arc<OwnedFd>,
    pub(crate) from_host: Arc<OwnedFd>,
}

/// What loading a program cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cost {
    pub program: &'static str,
    pub verified_instructions: u32,
    pub duration: Duration,
}

impl Datapath {
    /// Makes the devices, loads the programs onto the pinned maps, attaches the node's own programs
    /// and replaces those of pods that an earlier process left. Runs in the calling thread's network
    /// namespace.
    ///
    /// # Errors
    /// Whatever is refused; programs that were attached before stay.
    pub fn start(config: Config) -> Result<Self, Error> {
        let devices = devices::ensure(&config)?;
        let root = config.bpf_root.clone();
        prepare(&root)?;
        let mut outgrown = carry::find(&root)?;
        let replaced_maps = drop_unfit(&config, &mut outgrown)?;
        let (programs, costs) = load(&config, devices.vxlan)?;
        tracing::info!(?costs, replaced = ?replaced_maps, "programs loaded");
        // An earlier process may have died with a listener.
        let cell = sys::object_get(&pins::map(&root, &maps::CONFIG));
        cell.and_then(|fd| sys::update_elem(&fd, (ConfigCell::Monitor as u32).as_bytes(), 0u64.as_bytes()))
            .map_err(|source| Error::CheckPin { path: pins::map(&root, &maps::CONFIG), source })?;
        for old in &outgrown {
            let flows = old.copy(&root)?;
            tracing::info!(flows, from = old.name(), "flows carried over");
        }
        let datapath = Self { config, devices, programs, replaced_maps, outgrown: Mutex::new(outgrown), costs };
        // Programs that would start on emptied maps wait until these are filled again.
        if datapath.replaced_maps.is_empty() {
            datapath.settle()?;
        }
        Ok(datapath)
    }

    /// Puts the loaded programs in the place of those of an earlier process. [`Self::start`] does it
    /// unless maps had to be made anew; then it is to be called once they are filled.
    ///
    /// # Errors
    /// [`Error::Attach`], [`Error::Carry`].
    pub fn settle(&self) -> Result<(), Error> {
        self.attach_node()?;
        self.replace_pods()?;
        let root = &self.config.bpf_root;
        for old in self.outgrown.lock().drain(..) {
            // Flows that began while the programs were replaced.
            let flows = old.copy(root)?;
            tracing::info!(flows, from = old.name(), "late flows carried over");
        }
        carry::sweep(root)
    }

    /// The kernel for [`crate::Reconciler`].
    #[must_use]
    pub fn kernel(&self) -> Pinned {
        Pinned::with_programs(&self.config.bpf_root, self.programs.pod.clone(), self.config.policy_max)
    }

    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    #[must_use]
    pub fn devices(&self) -> Devices {
        self.devices
    }

    /// A loaded program, to be run on packets with [`crate::test_run`].
    #[must_use]
    pub fn program(&self, program: Program) -> BorrowedFd<'_> {
        match program {
            Program::LxcIn => self.programs.pod.ingress.as_fd(),
            Program::LxcOut => self.programs.pod.egress.as_fd(),
            Program::OverlayIn => self.programs.overlay_in.as_fd(),
            Program::FromHost => self.programs.from_host.as_fd(),
        }
    }

    /// What loading the programs cost.
    #[must_use]
    pub fn costs(&self) -> &[Cost] {
        &self.costs
    }

    /// Maps whose pins had another layout and were made anew.
    #[must_use]
    pub fn replaced_maps(&self) -> &[&'static str] {
        &self.replaced_maps
    }

    fn attach_node(&self) -> Result<(), Error> {
        let root = &self.config.bpf_root;
        for (interface, ifindex, hook, program) in [
            (pins::VXLAN_DEVICE, self.devices.vxlan, Hook::Ingress, &self.programs.overlay_in),
            (pins::HOST_DEVICE, self.devices.host, Hook::Egress, &self.programs.from_host),
        ] {
            attach_pinned(&pins::link(root, interface, hook), ifindex, hook, &**program)
                .map_err(|source| Error::Attach { interface: interface.to_owned(), source })?;
        }
        Ok(())
    }

    /// Make before break: each link goes from the old program to the new one in one step.
    fn replace_pods(&self) -> Result<(), Error> {
        let root = &self.config.bpf_root;
        let links =
            pins::pinned_links(root).map_err(|source| Error::PinDirectory { path: pins::links(root), source })?;
        for (interface, path) in links {
            if interface == pins::VXLAN_DEVICE || interface == pins::HOST_DEVICE {
                continue;
            }
            let ingress = path == pins::link(root, &interface, Hook::Ingress);
            let program = if ingress { &self.programs.pod.ingress } else { &self.programs.pod.egress };
            let replaced = sys::object_get(&path).and_then(|link| match sys::link_info(&link)?.ifindex {
                // The pod left while nobody looked.
                0 => fs::remove_file(&path),
                _ => sys::link_update(&link, &**program),
            });
            replaced.map_err(|source| Error::Attach { interface, source })?;
        }
        Ok(())
    }
}

/// Loads the programs and pins the maps; attaches nothing.
pub(crate) fn load(config: &Config, vxlan_ifindex: u32) -> Result<(Programs, Vec<Cost>), Error> {
    let router4 = config.router_ipv4.map_or(0, addr4);
    let router6 = config.router_ipv6.map_or([0; 4], addr6);
    let loopback4 = addr4(config.loopback_ipv4);
    let loopback6 = addr6(config.loopback_ipv6);
    let (dual_stack, audit) = (u8::from(config.dual_stack()), u8::from(config.audit));
    let (pod_net4, pod_mask4) = config.pod_cidr4().map_or((0, 0), |(net, mask)| (addr4(net), addr4(mask)));
    let (pod_net6, pod_mask6) = config.pod_cidr6().map_or(([0; 4], [0; 4]), |(net, mask)| (addr6(net), addr6(mask)));
    let hz = conntrack::hz().map_err(Error::Clock)?;
    let shift = tick_shift(hz);
    let life = |secs| ticks(secs, hz);
    let times = &config.timeouts;
    let (tcp, syn, close) = (life(times.tcp_secs), life(times.syn_secs), life(times.close_secs));
    let (any, report) = (life(times.any_secs), life(times.report_secs));
    let mut loader = EbpfLoader::new();
    loader
        .override_global("VXLAN_IFINDEX", &vxlan_ifindex, true)
        .override_global("TUNNEL_PORT", &config.tunnel_port, true)
        .override_global("ROUTER4", &router4, true)
        .override_global("ROUTER6", &router6, true)
        .override_global("POD_NET4", &pod_net4, true)
        .override_global("POD_MASK4", &pod_mask4, true)
        .override_global("POD_NET6", &pod_net6, true)
        .override_global("POD_MASK6", &pod_mask6, true)
        .override_global("LOOPBACK4", &loopback4, true)
        .override_global("LOOPBACK6", &loopback6, true)
        .override_global("DUAL_STACK", &dual_stack, true)
        .override_global("AUDIT", &audit, true)
        .override_global("CT_TICK_SHIFT", &shift, true)
        .override_global("CT_TCP", &tcp, true)
        .override_global("CT_SYN", &syn, true)
        .override_global("CT_CLOSE", &close, true)
        .override_global("CT_ANY", &any, true)
        .override_global("CT_REPORT", &report, true);
    for spec in maps::ALL {
        loader.map_pin_path(spec.name, pins::map(&config.bpf_root, spec));
        loader.map_max_entries(spec.name, max_entries(config, spec));
    }
    let mut object = loader.load(OBJECT).map_err(|source| Error::Object(Box::new(source)))?;
    let mut costs = Vec::new();
    let mut program = |name| load_program(&mut object, name, &mut costs);
    let programs = Programs {
        pod: PodPrograms { ingress: program("lxc_in")?, egress: program("lxc_out")? },
        overlay_in: program("overlay_in")?,
        from_host: program("from_host")?,
    };
    Ok((programs, costs))
}

fn load_program(object: &mut Ebpf, name: &'static str, costs: &mut Vec<Cost>) -> Result<Arc<OwnedFd>, Error> {
    let program: &mut SchedClassifier =
        object.program_mut(name).and_then(|program| program.try_into().ok()).ok_or(Error::NoProgram(name))?;
    let failed = |source| Error::Program { name, source: Box::new(source) };
    let started = Instant::now();
    program.load().map_err(failed)?;
    let duration = started.elapsed();
    let info = program.info().map_err(failed)?;
    let verified_instructions = info.verified_instruction_count().unwrap_or_default();
    costs.push(Cost { program: name, verified_instructions, duration });
    let fd = program.fd().map_err(failed)?.as_fd().try_clone_to_owned();
    fd.map(Arc::new).map_err(|source| Error::Attach { interface: name.to_owned(), source })
}

/// The directories below the root.
pub(crate) fn prepare(root: &Path) -> Result<(), Error> {
    let made = sys::ensure_bpffs(root)
        .and_then(|()| fs::create_dir_all(pins::maps(root)))
        .and_then(|()| fs::create_dir_all(pins::links(root)));
    made.map_err(|source| Error::PinDirectory { path: root.to_owned(), source })
}

fn max_entries(config: &Config, spec: &MapSpec) -> u32 {
    match spec.name {
        "ct4" | "ct6" => config.conntrack_max,
        "ipcache4" | "ipcache6" => config.ipcache_max,
        _ => spec.max_entries,
    }
}

/// Removes pins that this program version cannot use: a map reused with another layout would be
/// read wrongly, and the loader does not look. Old programs keep the old map until they are replaced.
///
/// Conntrack is set aside instead, for its flows to be carried over: tables cannot fill it again.
fn drop_unfit(config: &Config, outgrown: &mut Vec<Outgrown>) -> Result<Vec<&'static str>, Error> {
    let mut dropped = Vec::new();
    for spec in maps::ALL {
        let path = pins::map(&config.bpf_root, spec);
        let failed = |source| Error::CheckPin { path: path.clone(), source };
        let (map, info) = match sys::object_get(&path) {
            Ok(map) => {
                let info = sys::map_info(&map).map_err(failed)?;
                (map, info)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(failed(error)),
        };
        let found = (info.kind, info.key, info.value, info.max_entries, info.flags);
        let wanted = (spec.kind as u32, spec.key, spec.value, max_entries(config, spec), spec.flags);
        if found != wanted {
            tracing::warn!(map = spec.name, ?found, ?wanted, "pinned map has another layout: starting anew");
            fs::remove_file(&path).map_err(failed)?;
            if carry::is_conntrack(spec) {
                outgrown.extend(Outgrown::new(spec, map, None).map_err(failed)?);
            } else {
                dropped.push(spec.name);
            }
        }
    }
    Ok(dropped)
}
