//! plugins/auth
