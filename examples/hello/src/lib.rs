//! examples/hello
