//! Which filter entries of a generation share an instance, and which of those VMs it has from the generation before.

use std::collections::HashMap;
use std::sync::Arc;

use super::generation::Generation;
use crate::wasm::{FilterSpec, VmSpec};

/// The VMs of the generation before, by their first entries.
pub(super) struct KnownVms<'a>(HashMap<*const FilterSpec, &'a Arc<VmSpec>>);

impl<'a> KnownVms<'a> {
    pub(super) fn of(previous: Option<&'a Generation>) -> Self {
        let vms = previous.iter().flat_map(|previous| &previous.vms);
        Self(vms.filter_map(|vm| Some((Arc::as_ptr(vm.entries().next()?), vm))).collect())
    }

    /// The VM of the very same entries. One entry that is another makes another VM: what its module keeps in memory is that of
    /// all of them.
    fn same(&self, vm: &VmSpec) -> Option<&'a Arc<VmSpec>> {
        let known = *self.0.get(&Arc::as_ptr(vm.entries().next()?))?;
        let same = known.entries().map(Arc::as_ptr).eq(vm.entries().map(Arc::as_ptr));
        same.then_some(known)
    }

    /// Whether it was there before.
    pub(super) fn has(&self, vm: &Arc<VmSpec>) -> bool {
        self.same(vm).is_some_and(|known| Arc::ptr_eq(known, vm))
    }

    /// Puts entries that belong together into one VM; each other one has its own.
    pub(super) fn group<'s>(&self, specs: impl Iterator<Item = &'s Arc<FilterSpec>>) -> Vec<Arc<VmSpec>> {
        let mut vms: Vec<VmSpec> = Vec::new();
        // By the VM's name: what else must be the same differs seldom.
        let mut named: HashMap<&str, Vec<usize>> = HashMap::new();
        for spec in specs {
            let places = spec.vm.named.then(|| named.entry(&spec.vm.id).or_default());
            let found = places.iter().flat_map(|places| places.iter()).copied().find(|place| vms[*place].takes(spec));
            match (found, places) {
                (Some(place), _) => vms[place].join(Arc::clone(spec)),
                (None, places) => {
                    places.into_iter().for_each(|places| places.push(vms.len()));
                    vms.push(VmSpec::new(Arc::clone(spec)));
                }
            }
        }
        vms.into_iter().map(|vm| self.same(&vm).cloned().unwrap_or_else(|| Arc::new(vm))).collect()
    }
}
