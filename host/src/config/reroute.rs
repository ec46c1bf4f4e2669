//! Which requests may be led to a route by the filters of another one.

use super::FilterEntry;

/// Whose requests a route takes when a filter has their route chosen again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reroute {
    /// Those that have passed every filter that this route would have them pass.
    #[default]
    Checked,
    /// All of them.
    Any,
}

impl FilterEntry {
    /// Whether another entry has the same plugin do the same, wherever it stands and whichever requests it is for.
    #[must_use]
    pub fn does_the_same(&self, other: &Self) -> bool {
        // In full, so that no new field is forgotten here.
        let Self {
            path: _,
            when: _,
            plugin,
            config,
            on_error,
            deadline,
            memory,
            upstreams,
            pause,
            env,
            capabilities,
            vm,
            ticks,
        } = self;
        (plugin, config, on_error, deadline, memory)
            == (&other.plugin, &other.config, &other.on_error, &other.deadline, &other.memory)
            && (upstreams, pause, env) == (&other.upstreams, &other.pause, &other.env)
            && (capabilities, vm, ticks) == (&other.capabilities, &other.vm, &other.ticks)
    }
}
