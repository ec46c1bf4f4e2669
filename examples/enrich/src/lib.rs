//! examples/enrich
