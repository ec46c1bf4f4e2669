//! examples/edit-json
