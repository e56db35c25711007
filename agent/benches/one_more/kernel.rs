//! A kernel that takes everything and keeps nothing: what a map costs is the kernel's, and measured elsewhere.

use datapath::MapId;
use datapath::kernel::{Kernel, Pair, Result};

pub(crate) struct Forgetful;

impl Kernel for Forgetful {
    fn update(&mut self, _: MapId, rows: &[Pair]) -> Result<()> {
        std::hint::black_box(rows);
        Ok(())
    }

    fn delete(&mut self, _: MapId, keys: &[Vec<u8>]) -> Result<()> {
        std::hint::black_box(keys);
        Ok(())
    }

    fn lookup(&mut self, _: MapId, _: &[u8]) -> Result<Option<Vec<u8>>> {
        Ok(None)
    }

    fn dump(&mut self, _: MapId) -> Result<Vec<Pair>> {
        Ok(Vec::new())
    }

    fn create_set(&mut self, _: u32) -> Result<()> {
        Ok(())
    }

    fn drop_set(&mut self, _: u32) -> Result<()> {
        Ok(())
    }

    fn policy_max(&self) -> u32 {
        u32::MAX
    }

    fn sets(&mut self) -> Result<Vec<u32>> {
        Ok(Vec::new())
    }

    fn attach(&mut self, _: &str, _: u32) -> Result<()> {
        Ok(())
    }

    fn detach(&mut self, _: &str) -> Result<()> {
        Ok(())
    }

    fn attached(&mut self) -> Result<Vec<String>> {
        Ok(Vec::new())
    }
}
