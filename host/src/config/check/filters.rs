//! The entries of a chain: `filters`, at the top and in a route.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use super::{UpstreamNames, all, capabilities, matches, word};
use crate::config::compact::compact;
use crate::config::fields::Fields;
use crate::config::load::Heard;
use crate::config::node::{Member, Node};
use crate::config::origins::{FilterOrigin, Place};
use crate::config::{Capabilities, FilterEntry, OnError, PauseMeaning, Ticks, Vm};

/// Guest time a callback may take: a hundred times what a slow filter needs, and short enough that its neighbours on the
/// worker are not noticed to wait.
const DEADLINE: Duration = Duration::from_millis(100);

/// Ceiling of an instance's linear memory, bytes. Filters of today take one to five MiB.
const MEMORY_BYTES: usize = 64 << 20;

/// One page of WebAssembly, bytes: the least that a memory can have.
const PAGE_BYTES: u64 = 64 << 10;

/// All that a 32-bit guest can address, bytes.
const ADDRESSABLE_BYTES: u64 = 4 << 30;

pub(super) fn filters(node: &Node<'_>, upstreams: &UpstreamNames) -> Option<Vec<FilterEntry>> {
    all(&node.elements()?, |node| filter(node, upstreams))
}

fn filter(node: &Node<'_>, upstreams: &UpstreamNames) -> Option<FilterEntry> {
    let mut fields = Fields::of(node)?;
    let place = fields.required("use");
    let plugin = place.as_ref().and_then(plugin);
    let config_node = fields.optional("config");
    let config = config_node.as_ref().map(compact);
    let when = fields.optional("when").map(|node| matches::condition(&node));
    let on_error = fields
        .optional("on_error")
        .map_or(Some(OnError::default()), |node| word(&node, &[("closed", OnError::Closed), ("open", OnError::Open)]));
    let deadline = fields
        .optional("deadline")
        .map_or(Some(DEADLINE), |node| node.duration(Duration::from_millis(1)..=Duration::from_secs(60)));
    let memory = fields.optional("memory").map_or(Some(MEMORY_BYTES), |node| node.size(PAGE_BYTES..=ADDRESSABLE_BYTES));
    let granted = fields.optional("upstreams").map_or_else(
        || Some(BTreeSet::new()),
        |node| Some(all(&node.elements()?, |node| upstreams.resolve(node))?.into_iter().collect()),
    );
    let pause = fields.optional("pause").map_or(Some(PauseMeaning::default()), |node| {
        word(&node, &[("stop_all", PauseMeaning::StopAll), ("stop_iteration", PauseMeaning::StopIteration)])
    });
    let env = fields.optional("env").map_or_else(|| Some(BTreeMap::new()), |node| environment(&node));
    let capabilities = fields
        .optional("capabilities")
        .map_or_else(|| Some(Capabilities::default()), |node| capabilities::capabilities(&node));
    let (vm, ticks) = (vm(&mut fields), ticks(&mut fields));
    let settings = ["memory", "vm_config"].into_iter().filter_map(|key| {
        let node = fields.optional(key)?;
        Some((key, Place { path: node.path.to_string(), key: None, value: node.span() }))
    });
    let settings = settings.collect();
    fields.finish();

    let (text, places, bare) = match config {
        Some(compact) => compact.map(|compact| (compact.text, compact.places, compact.bare))?,
        None => (String::new(), HashMap::new(), false),
    };
    let text: Arc<str> = text.into();
    let origin = FilterOrigin { entry: node.span(), plugin: place?.span(), bare, settings, places };
    node.document.origins.borrow_mut().insert(node.path.to_string(), origin);
    let whole = (|| {
        Some(FilterEntry {
            path: Arc::from(&*node.path),
            config: Arc::clone(&text),
            when: match when {
                Some(when) => Some(when?),
                None => None,
            },
            on_error: on_error?,
            deadline: deadline?,
            memory: memory?,
            upstreams: granted?,
            pause: pause?,
            env: env?,
            capabilities: capabilities?,
            vm: vm?.or_of(plugin.as_ref()?),
            ticks: ticks?,
            plugin: plugin.clone()?,
        })
    })();
    let heard = plugin.map(|plugin| Heard { path: Arc::from(&*node.path), plugin, config: text, whole: whole.clone() });
    node.document.entries.borrow_mut().extend(heard);
    whole
}

/// `vm_id`, `root_id`, `vm_config`.
fn vm(fields: &mut Fields<'_>) -> Option<Vm> {
    let id = fields.optional("vm_id").map(|node| name(&node));
    let (id, named) = (id.clone().unwrap_or_else(|| Some(Arc::default())), id.is_some());
    let root_id = fields.optional("root_id").map_or_else(|| Some(Arc::default()), |node| name(&node));
    let config = match fields.optional("vm_config") {
        Some(node) => compact(&node).map(|compact| compact.text.into()),
        None => Some(Arc::default()),
    };
    Some(Vm { id: id?, named, root_id: root_id?, config: config? })
}

impl Vm {
    /// With the plugin's name where no other is given.
    fn or_of(self, plugin: &Arc<str>) -> Self {
        if self.named { self } else { Self { id: Arc::clone(plugin), ..self } }
    }
}

fn name(node: &Node<'_>) -> Option<Arc<str>> {
    let text = node.text()?;
    if text.value.is_empty() {
        node.problem("must not be empty");
        return None;
    }
    Some(text.value.into())
}

fn ticks(fields: &mut Fields<'_>) -> Option<Ticks> {
    fields
        .optional("ticks")
        .map_or(Some(Ticks::default()), |node| word(&node, &[("worker", Ticks::Worker), ("process", Ticks::Process)]))
}

/// A plugin's name: a file stem, so nothing that leads out of the directory.
fn plugin(node: &Node<'_>) -> Option<Arc<str>> {
    let text = node.text()?;
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let stem = text.value.strip_suffix(".wasm");
    if stem.is_some() || text.value.is_empty() || text.value.starts_with('.') || !text.value.chars().all(legal) {
        let file = text.value.rsplit('/').next().unwrap_or_default();
        let name = file.strip_suffix(".wasm").filter(|name| !text.secret && !name.is_empty());
        let message = format!("expected the name of a plugin such as \"rate-limit\", found {}", text.shown);
        node.problem_suggesting(message, name.map(str::to_owned));
        return None;
    }
    Some(text.value.replace('_', "-").into())
}

/// `env`: variables of the guest.
fn environment(node: &Node<'_>) -> Option<BTreeMap<String, String>> {
    let variable = |member: &Member<'_>| {
        let text = member.node.text();
        if member.key.is_empty() || member.key.contains(['=', '\0']) {
            let message = "not a name of an environment variable".to_owned();
            member.node.problem_at(member.key_span, &member.node.path, message, None);
            return None;
        }
        let text = text?;
        if text.value.contains('\0') {
            member.node.problem("must not contain NUL");
            return None;
        }
        Some((member.key.to_string(), text.value.into_owned()))
    };
    let checked: Vec<Option<(String, String)>> = node.members()?.iter().map(variable).collect();
    checked.into_iter().collect()
}
